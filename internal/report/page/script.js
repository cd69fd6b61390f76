"use strict";
(() => {
  const form = document.querySelector("form");
  const items = [...document.querySelectorAll("[data-verdicts]")];
  const groups = [...document.querySelectorAll("[data-group]")];
  const count = form.querySelector("output");
  for (const i of items) i.text = i.textContent.toLowerCase();
  form.hidden = false;
  function filter() {
    const on = new Set([...form.querySelectorAll("[name=verdict]:checked")].map((c) => c.value));
    const area = form.elements.area.value;
    const differ = form.elements.differ && form.elements.differ.checked;
    const words = form.elements.text.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    const live = new Set();
    for (const i of items) {
      const show = i.dataset.verdicts.split(" ").some((v) => on.has(v)) && (!area || i.dataset.area === area) &&
        (!differ || i.dataset.differs) && words.every((w) => i.text.includes(w));
      i.hidden = !show;
      if (show) { shown++; live.add(i.dataset.area); }
    }
    for (const g of groups) g.hidden = !live.has(g.dataset.group);
    count.textContent = shown + " of " + items.length + " claims";
  }
  // What is gone to must not end up under the form.
  function makeRoom() {
    const pinned = getComputedStyle(form).position === "sticky";
    document.documentElement.style.scrollPaddingTop = (pinned ? form.offsetHeight : 0) + 8 + "px";
  }
  function follow() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const item = target.closest("[data-verdicts]");
    if (item && item.hidden) { form.reset(); filter(); }
    const details = target.matches("details") ? target : target.querySelector("details");
    if (details) { details.open = true; details.querySelector("summary").focus({ preventScroll: true }); }
    target.scrollIntoView();
  }
  form.addEventListener("input", filter);
  form.addEventListener("submit", (e) => e.preventDefault());
  addEventListener("hashchange", follow);
  document.addEventListener("toggle", (e) => {
    if (e.target.open && e.target.matches("details[id]") && e.target.contains(document.activeElement))
      history.replaceState(null, "", "#" + e.target.id);
  }, true);
  addEventListener("resize", makeRoom);
  filter();
  makeRoom();
  follow();
})();
