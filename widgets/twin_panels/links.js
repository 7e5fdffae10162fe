function render() {
  keep_names();
  // The controls around come into the page with this, on a busy machine one after the other.
  for (const later_ms of [1000, 3000, 10_000]) setTimeout(name_controls, later_ms);
}

export default { render };
