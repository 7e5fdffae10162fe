function render() {
  keep_names();
  setTimeout(name_controls, 1000); // the controls around come into the page with this
}

export default { render };
