"""Panels for JupyterLab: controls built from a twin's parameter model, beside live figures."""
