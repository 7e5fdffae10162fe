# Each command sets up .venv by itself when needed; see bootstrap.py.
PYTHON ?= python3

.PHONY: help run test coverage lab book site bench pictures setup size clean
help:
	@echo "make run     the main job: simulate a pulsar observation, search it, search a real telescope file"
	@echo "make test    every check and every test"
	@echo "make coverage  the tests, and which lines of lib they run"
	@echo "make lab     JupyterLab on the start page"
	@echo "make book    the book, in book/_build/html"
	@echo "make site    the first ten minutes and every panel's picture, for any web server, in book/_build/site"
	@echo "make bench   the benchmarks"
	@echo "make pictures  those of README and start page, from real runs"
	@echo "make setup   only set up .venv"
	@echo "make size    how large the layer below the twins is"
	@echo "make clean   remove .venv, the book and caches; runs are kept"
run test coverage lab book site bench pictures setup size:
	@$(PYTHON) bootstrap.py $@ $(ARGS)
clean:
	rm -rf .venv .venv.lock book/_build book/notebooks .pytest_cache .ruff_cache .coverage
