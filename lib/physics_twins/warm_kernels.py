"""Notebook kernels forked from a process that has imported what every kernel needs.

A kernel spends most of its start importing. For many small notebooks in one process, as in a sweep, one
process imports once and each kernel is a fork of it: its own process with its own state, as always.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.manager import AsyncKernelManager
from jupyter_client.provisioning.local_provisioner import LocalProvisioner

_LAUNCHER = "ipykernel_launcher"
# What a kernel imports before its first cell, the debugger's many modules first of all.
_PRELOADED = (
    "ipykernel.kernelapp",
    "ipykernel.ipkernel",
    "ipykernel.debugger",
    "tornado.platform.asyncio",
    "IPython.core.completerlib",
    "IPython.extensions.storemagic",
    "physics_twins.runs",
)


class WarmKernelManager(AsyncKernelManager):
    """Starts a Python kernel of this environment by a fork, any other kernel as usual."""

    async def _async_pre_start_kernel(self, **options: Any) -> Any:
        if self.provisioner is None:
            spec = self.kernel_spec
            self.provisioner = _WarmProvisioner(kernel_id=self.kernel_id, kernel_spec=spec, parent=self)
        return await super()._async_pre_start_kernel(**options)

    pre_start_kernel = _async_pre_start_kernel


class _WarmProvisioner(LocalProvisioner):
    async def launch_kernel(self, cmd: list[str], **options: Any) -> Any:
        position = cmd.index(_LAUNCHER) if _LAUNCHER in cmd else 0
        if not position or not _is_this_python(cmd[0]) or not hasattr(os, "fork"):
            return await super().launch_kernel(cmd, **options)
        process = _fork(cmd[position + 1 :], options.get("cwd"), options.get("env"))
        self.process = process  # pyright: ignore[reportAttributeAccessIssue]
        self.pid = self.pgid = process.pid
        return self.connection_info


def _is_this_python(path: str) -> bool:
    """Return whether a path leads to this interpreter in this environment, not only to its binary."""
    given, ours = Path(path), Path(sys.executable)
    return given.resolve() == ours.resolve() and given.parent.resolve() == ours.parent.resolve()


class _ForkedKernel:
    """A kernel's process with as much of `subprocess.Popen` as a provisioner uses."""

    stdin = stdout = stderr = None

    def __init__(self, pid: int) -> None:
        self.pid = pid
        try:
            self._process: psutil.Process | None = psutil.Process(pid)
        except psutil.NoSuchProcess:
            self._process = None

    def poll(self) -> int | None:
        if self._process is not None and self._process.is_running():
            return None
        return 1  # how it ended, its parent knows; that it ended is what counts here

    def wait(self, timeout: float | None = None) -> int:
        end = time.monotonic() + timeout if timeout is not None else float("inf")
        while (code := self.poll()) is None and time.monotonic() < end:
            time.sleep(0.01)
        return code or 0

    def send_signal(self, number: int) -> None:
        if self._process is not None and self._process.is_running():
            self._process.send_signal(number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


class _Nursery:
    """The process that kernels are forked from; it ends, with its kernels, when this one does."""

    def __init__(self) -> None:
        # -P: the folder that this process began in is none of the kernels' business.
        # -X: as the kernels' own command has it.
        options = ["-P", "-Xfrozen_modules=off"]
        command = [sys.executable, *options, "-m", "physics_twins.warm_kernels"]
        self._process = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )

    def fork(self, request: dict[str, Any]) -> _ForkedKernel | None:
        """Return a new kernel, None where the nursery has ended."""
        pipe, answers = self._process.stdin, self._process.stdout
        try:
            print(json.dumps(request), file=pipe, flush=True)
            return _ForkedKernel(int(answers.readline())) if answers else None
        except (BrokenPipeError, ValueError):
            return None

    def close(self) -> None:
        """End the nursery and its kernels."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(BrokenPipeError):
                    pipe.close()
        self._process.wait()


_one_at_a_time = threading.Lock()
_nurseries: list[_Nursery] = []  # one, or none yet


def _fork(arguments: list[str], cwd: Any, env: dict[str, str] | None) -> _ForkedKernel:
    request = {"arguments": arguments, "cwd": str(cwd or Path.cwd()), "env": env or dict(os.environ)}
    with _one_at_a_time:
        for _ in range(2):  # once more if the nursery was killed
            if not _nurseries:
                _nurseries.append(_Nursery())
            if kernel := _nurseries[0].fork(request):
                return kernel
            _nurseries.pop().close()
    raise RuntimeError("the process that kernels are forked from does not start")


@atexit.register
def _close() -> None:
    while _nurseries:
        _nurseries.pop().close()


def serve() -> None:
    """Fork a kernel for each line of standard input, and answer with its process number."""
    import importlib

    for name in _PRELOADED:
        importlib.import_module(name)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the system buries the kernels
    answers = os.dup(1)
    os.dup2(2, 1)
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            os.close(answers)
            _become_kernel(request)
        os.write(answers, f"{pid}\n".encode())
    for kernel in psutil.Process().children():  # asked now: numbers of processes are used again
        with suppress(ProcessLookupError):
            os.killpg(kernel.pid, signal.SIGKILL)


def _become_kernel(request: dict[str, Any]) -> None:
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.environ.clear()
        os.environ.update(request["env"], JPY_PARENT_PID=str(os.getppid()))
        os.chdir(request["cwd"])
        sys.argv = ["ipykernel_launcher", *request["arguments"]]
        _forget_random_state()
        _run_kernel(request["arguments"])
        code = 0
    finally:
        os._exit(code)


def _run_kernel(arguments: list[str]) -> None:
    """Run a kernel, then do what matters of a program's end: threads, exit handlers, open files.

    To take all imported modules apart as well would take 0.4 s.
    """
    from ipykernel.kernelapp import IPKernelApp

    IPKernelApp.launch_instance(arguments)
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue]
    atexit._run_exitfuncs()
    if shell := IPKernelApp.instance().shell:
        shell.user_ns.clear()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()


def _forget_random_state() -> None:
    """Seed numpy's global generator anew, or all kernels would draw the same numbers."""
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed(None)


if __name__ == "__main__":
    serve()
