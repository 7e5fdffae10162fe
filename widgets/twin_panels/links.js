// A page with figures is opened in a tab of its own: within the lab it would have to be trusted first,
// and is blank until then. The lab has put the page's address into the link.
function open_beside(event) {
  const link = event.target.closest?.(".twin-links a");
  if (!link?.pathname.endsWith(".html")) return;
  event.preventDefault();
  event.stopPropagation();
  window.open(link.href, "_blank");
}

function render() {
  keep_names();
  setTimeout(name_controls, 1000); // the controls around come into the page with this
  if (window.twin_links) return;
  window.twin_links = true;
  window.addEventListener("click", open_beside, true);
}

export default { render };
