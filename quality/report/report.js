"use strict";
// The report's own script: language, theme, pictures that are asked for, and the cut. It reads the page and asks for nothing.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };
  const both = (en, ko) => {
    const made = document.createDocumentFragment();
    made.append(element("span", { class: "l", lang: "en" }, en), element("span", { class: "l", lang: "ko" }, ko));
    return made;
  };
  const number = (value) => value.toLocaleString("en-US");
  const share = (n, of) => (of ? ((100 * n) / of).toFixed(1) + "%" : "–");

  // ---- language and theme: for as long as the page is open; nothing is stored
  const label = () => {
    const lang = root.dataset.lang;
    root.lang = lang;
    document.title = root.dataset["title" + (lang === "ko" ? "Ko" : "En")];
    for (const each of document.querySelectorAll("[data-label-en]")) each.setAttribute("aria-label", each.getAttribute("data-label-" + lang));
    for (const each of document.querySelectorAll("[data-alt-en]")) each.alt = each.getAttribute("data-alt-" + lang);
    for (const each of document.querySelectorAll("[data-value-en]")) each.setAttribute("aria-valuetext", each.getAttribute("data-value-" + lang));
  };
  const choice = (selector, choose) => {
    const buttons = [...document.querySelectorAll(selector)];
    for (const button of buttons) {
      button.addEventListener("click", () => {
        for (const each of buttons) each.setAttribute("aria-pressed", String(each === button));
        choose(button.value);
      });
    }
  };
  choice("button[name=lang]", (lang) => { root.dataset.lang = lang; label(); });
  choice("button[name=theme]", (theme) => { if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme; });

  // ---- pictures: the sharp ones lie in a block of text and become an image when somebody asks
  let sharp = null;
  const draw = (picture, reveal) => {
    const image = picture.querySelector("img"), button = picture.querySelector("button");
    if (!button) return;
    image.dataset.blurred ??= image.src;
    if (reveal) sharp ??= read("sharp");
    image.src = reveal ? "data:image/webp;base64," + sharp[button.dataset.sharp] : image.dataset.blurred;
    image.classList.toggle("blurred", !reveal);
    image.dataset.altEn = reveal ? "Image of the pair" : "Blurred image of the pair";
    image.dataset.altKo = reveal ? "쌍의 이미지" : "흐리게 처리한 쌍의 이미지";
    image.alt = root.dataset.lang === "ko" ? image.dataset.altKo : image.dataset.altEn;
    button.setAttribute("aria-pressed", String(reveal));
    button.replaceChildren(reveal ? both("Blur", "흐리게") : both("Show", "보기"));
  };
  document.addEventListener("click", (event) => {
    const one = event.target.closest("button[data-sharp]");
    if (one) draw(one.closest(".picture"), one.getAttribute("aria-pressed") !== "true");
    const many = event.target.closest("button[data-sheet]");
    if (many) {
      const reveal = many.getAttribute("aria-pressed") !== "true";
      for (const each of document.getElementById(many.dataset.sheet).querySelectorAll(".picture")) draw(each, reveal);
      many.setAttribute("aria-pressed", String(reveal));
      many.replaceChildren(reveal ? both("Blur all here", "모두 흐리게") : both("Show all here", "여기 모두 보기"));
    }
  });

  // ---- the cut
  const words = { keep: ["keep", "유지"], review: ["review", "검토"], drop: ["drop", "제외"] };
  const card = (pair, value) => {
    const image = pair.blurred
      ? element("img", { class: "blurred", src: "data:image/webp;base64," + pair.blurred, alt: "", "data-alt-en": "Blurred image of the pair", "data-alt-ko": "흐리게 처리한 쌍의 이미지" })
      : both("no image", "이미지 없음");
    const picture = element("div", { class: "picture" }, image);
    if (pair.sharp !== null) picture.append(element("button", { type: "button", "data-sharp": pair.sharp, "aria-pressed": "false" }, both("Show", "보기")));
    const said = element("p", { class: "said" });
    if (pair.caption === null) said.append(both("no caption", "캡션 없음"));
    else said.append(element("bdi", { dir: "auto" }, pair.caption));
    const meta = element("p", { class: "meta" }, String(value));
    if (pair.verdict) meta.append(" · ", element("span", { class: "tag " + pair.verdict }, both(...words[pair.verdict])));
    const figure = element("figure", { class: "pair" }, picture, element("figcaption", {}, said, meta));
    return element("li", {}, figure);
  };
  const pairs = read("pairs");
  const shown = (value) => String(+value.toPrecision(6));

  for (const cut of document.querySelectorAll(".cut")) {
    const data = JSON.parse(cut.querySelector("script").textContent);
    const slider = cut.querySelector("input[type=range]"), says = cut.querySelector(".says"), toml = cut.querySelector("code");
    const plot = document.getElementById(data.plot), at = plot.querySelector(".at"), gone = plot.querySelector(".gone");
    const out = document.getElementById(data.out), stay = document.getElementById(data.stay);
    const sum = (counts) => counts.reduce((a, b) => a + b, 0);
    const update = () => {
      const side = cut.querySelector("input[type=radio]:checked").value, k = +slider.value, edge = data.edges[k];
      const kept = (side === "min" ? data.at_least : data.at_most)[k], n = sum(kept);
      const lost = data.of.map((each, place) => each - kept[place]);
      const word = side === "min" ? ["at least", "이상"] : ["at most", "이하"];
      const line = [
        `A bound of ${word[0]} ${shown(edge)} keeps ${number(n)} of ${number(data.measured)} measured pairs (${share(n, data.measured)}) and drops ${number(data.measured - n)}.`,
        `${shown(edge)} ${word[1]} 기준은 측정된 ${number(data.measured)}쌍 중 ${number(n)}쌍(${share(n, data.measured)})을 남기고 ${number(data.measured - n)}쌍을 제외합니다.`,
      ];
      if (data.decided) {
        line[0] += ` It would drop ${number(lost[0])} of the ${number(data.of[0])} that this release keeps and ${number(lost[1])} of the ${number(data.of[1])} for review.`;
        line[1] += ` 이 릴리스가 유지한 ${number(data.of[0])}쌍 중 ${number(lost[0])}쌍, 검토 대상 ${number(data.of[1])}쌍 중 ${number(lost[1])}쌍이 제외됩니다.`;
      }
      says.replaceChildren(both(...line));
      slider.setAttribute("data-value-en", line[0]);
      slider.setAttribute("data-value-ko", line[1]);
      toml.textContent = `[[rule]]\ncolumn = "${data.name}"\n${data.scorer ? `scorer = "${data.scorer}"\n` : ""}${side} = ${shown(edge)}`;
      const left = data.left + data.width * data.places[k];
      at.style.left = 100 * left + "%";
      gone.style.left = 100 * (side === "min" ? data.left : left) + "%";
      gone.style.width = 100 * (side === "min" ? left - data.left : data.left + data.width - left) + "%";
      const bound = data.single ? Math.fround(edge) : edge; // as select compares
      const stays = ([value]) => (side === "min" ? value >= bound : value <= bound);
      const near = (some) => (side === "min" ? some : [...some].reverse());
      const dropped = near(data.samples.filter((one) => !stays(one))).slice(-6).reverse();
      const staying = near(data.samples.filter(stays)).slice(0, 6);
      for (const [list, some] of [[out, dropped], [stay, staying]]) {
        list.replaceChildren(...some.map(([value, pair]) => card(pairs[pair], shown(value))));
        list.previousElementSibling.querySelector(".count").textContent = String(some.length);
      }
      label();
    };
    slider.addEventListener("input", update);
    for (const radio of cut.querySelectorAll("input[type=radio]")) radio.addEventListener("change", update);
    update();
  }

  // ---- contents: where we are; closed on a phone
  const contents = document.querySelector("nav.contents details");
  const wide = matchMedia("(min-width: 68rem)");
  const fit = () => { contents.open = wide.matches; };
  wide.addEventListener("change", fit);
  fit();
  const links = new Map([...document.querySelectorAll("nav.contents a")].map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      for (const link of links.values()) link.removeAttribute("aria-current");
      links.get(entry.target.id)?.setAttribute("aria-current", "true");
    }
  }, { rootMargin: "0px 0px -75% 0px" });
  for (const section of document.querySelectorAll("main section[id]")) seen.observe(section);
  label();
})();
