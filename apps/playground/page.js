// The page's hands: gathers the edits' form from the page itself, so that what is run is what is
// seen, and hands clicks on our own HTML to the server.
window.steer = {
  opened: false, // whether the page has its first state: who runs earlier waits for it
  early: null, // the timer of who does
  searched: 0, // searches for a feature so far
  asked: 0, // runs and measurements of this page so far: a cancel names the last that it means
  running: null, // the run whose last frame is not yet there
  pointed: false, // whether what is told was pointed at, and not reached by a key

  form() {
    return [...document.querySelectorAll("#edits .edit")].map((edit) => {
      const amount = edit.querySelector('[data-field="amount"]');
      const muted = edit.classList.contains("muted");
      if (edit.dataset.rows) return { rows: JSON.parse(edit.dataset.rows), amount: amount.value, muted };
      const positions = edit.querySelector('[data-field="positions"]');
      return {
        row: JSON.parse(edit.dataset.row),
        kind: edit.querySelector('[data-field="kind"]').value,
        amount: amount ? amount.value : 2,
        unit: edit.querySelector('[data-field="unit"]')?.value ?? edit.dataset.unit,
        positions: positions.value,
        when: edit.querySelector('[data-field="when"]').value,
        schedule: edit.querySelector('[data-field="schedule"]').value,
        muted,
      };
    });
  },

  follow(target) {
    const edit = target.closest(".edit");
    const field = target.dataset.field;
    if (!edit || (field !== "slide" && field !== "amount")) return;
    const number = edit.querySelector('[data-field="amount"]');
    const slide = edit.querySelector('[data-field="slide"]');
    const fine = number.dataset.unit === "norm" ? 100 : 20;
    if (field === "slide") number.value = Math.round(target.value * fine) / fine;
    else slide.value = target.value;
    slide.classList.toggle("beyond", Math.abs(number.value) > Number(number.dataset.fluent));
    const output = edit.querySelector("output");
    if (number.dataset.unit === "max" && output.textContent) {
      output.textContent = "= " + (number.value * number.dataset.scale).toPrecision(3) / 1;
    }
  },

  async copy(button) {
    await navigator.clipboard.writeText(button.closest("figure").querySelector("pre").textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = "Copy"), 1200);
  },

  show(chip) {
    chip.closest(".texts").dataset.show = chip.dataset.show;
    for (const each of chip.parentElement.querySelectorAll(".chip")) {
      each.setAttribute("aria-pressed", each === chip);
    }
  },

  // A run is asked for: its texts are in the first tab, and on a phone below what asked for them.
  begin() {
    window.steer.asked++;
    window.steer.say("");
    const tab = document.querySelector("#views button[role=tab]");
    if (tab?.getAttribute("aria-selected") === "false") tab.click();
    if (matchMedia("(max-width: 760px)").matches) document.querySelector("#right").scrollIntoView();
  },

  // A frame of a run: [what it has to say, the texts or null, the link of finished ones or "",
  // whether what is left is of an earlier run].
  draw([said, texts, link, stale]) {
    document.querySelector("#texts [data-said]").innerHTML = said;
    const pane = document.querySelector("#texts [data-texts]");
    if (texts !== null) pane.innerHTML = texts;
    if (texts !== null || stale) pane.toggleAttribute("data-stale", Boolean(stale) && !pane.querySelector(".idle"));
    if (!link) return;
    history.replaceState(null, "", `#s=${link}`);
    window.steer.say("The run is over: both texts and the receipt are there.");
  },

  // A state came from outside: a box that was changed since it was asked for stays as it is.
  fill(boxes, now) {
    window.steer.opened = true;
    if (!boxes) return ["", ...now];
    const { from, to } = JSON.parse(boxes);
    return ["", ...now.map((value, at) => (value === from[at] ? to[at] : value))];
  },

  // For who can't see it: what has just ended.
  say(text) {
    document.querySelector("#spoken").textContent = text;
  },

  // One run of a page at a time; its frames come as lines of JSON. It is over with its last frame,
  // a little before the server ends the answer: who runs again at once is heard.
  async run(session, rest) {
    if (window.steer.running) return;
    if (!window.steer.opened) {
      window.steer.early = setTimeout(() => document.querySelector("#run").click(), 100);
      return;
    }
    const own = (window.steer.running = {});
    const over = () => window.steer.running === own && (window.steer.running = null);
    try {
      const values = [JSON.stringify(window.steer.form()), ...rest];
      const answer = await fetch(location.pathname.replace(/\/?$/, "/steer/run"), {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ session, asked: window.steer.asked, values }),
      });
      if (!answer.ok) throw new Error(`it answers ${answer.status}`);
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      for (let left = "", part; !(part = await reader.read()).done; ) {
        const lines = (left + part.value).split("\n");
        left = lines.pop();
        for (const line of lines) {
          window.steer.draw(JSON.parse(line));
          if (!document.querySelector("#texts .live")) over();
        }
      }
    } catch (error) {
      const said = Object.assign(document.createElement("p"), { className: "notice error", role: "alert" });
      said.textContent = `The server can't be reached (${error.message}): is it still running?`;
      window.steer.draw([said.outerHTML, null, ""]);
    } finally {
      over();
    }
  },

  theme() {
    document.body.classList.toggle("dark");
  },

  // A token's receipt: on hover, on a tap, and with the arrow keys in a text that has the focus.
  tell(token) {
    const tip = document.querySelector("#tip") ?? (document.querySelector("main") ?? document.body).appendChild(document.createElement("div"));
    const spoken = token?.matches("button, input, select") ? "tooltip" : "status";
    Object.assign(tip, { id: "tip", role: spoken, hidden: !token, textContent: token?.dataset.tip });
    document.querySelector(".t.told")?.classList.remove("told");
    if (!token) return;
    token.classList.add("told");
    const at = token.getClientRects()[0] ?? token.getBoundingClientRect();
    const own = tip.getBoundingClientRect();
    const below = at.bottom + 6 + own.height < innerHeight;
    tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - own.width - 8))}px`;
    tip.style.top = `${below ? at.bottom + 6 : at.top - own.height - 6}px`;
  },

  step(event) {
    const move = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const tokens = [...event.target.querySelectorAll("[data-tip]")];
    if (event.key === "Escape") return window.steer.tell(null);
    if (!move || !tokens.length) return;
    event.preventDefault();
    const now = tokens.findIndex((token) => token.matches(".told"));
    const next = tokens[Math.max(0, Math.min(now + move, tokens.length - 1))];
    next.scrollIntoView({ block: "nearest" });
    window.steer.tell(next);
  },

  tips(element) {
    element.addEventListener("pointerover", (event) => {
      const token = event.target.closest("[data-tip]");
      if (token || window.steer.pointed) window.steer.tell(token); // a page that scrolls is no pointing
      window.steer.pointed = token !== null;
    });
    element.addEventListener("pointerleave", (event) => {
      if (event.pointerType !== "touch") window.steer.tell(null);
    });
    element.addEventListener("focusin", ({ target }) => {
      if (target.matches("[data-tip]:focus-visible")) window.steer.tell(target);
    });
    element.addEventListener("focusout", () => window.steer.tell(null));
    element.addEventListener("keydown", window.steer.step);
  },

  // A list that is drawn anew at a change: the control that had the focus has it again.
  keep(element) {
    let last = null;
    element.addEventListener("focusin", ({ target }) => {
      const { act, field, feature, position } = target.dataset;
      const number = target.closest(".edit")?.dataset.number;
      const of = { act, field, feature, position };
      const named = Object.entries(of).filter(([, value]) => value !== undefined);
      const row = number === undefined ? "" : `.edit[data-number="${number}"] `;
      last = named.length ? row + named.map(([name, value]) => `[data-${name}="${value}"]`).join("") : null;
    });
    element.addEventListener("focusout", ({ relatedTarget }) => {
      if (relatedTarget) last = null;
    });
    new MutationObserver(() => {
      if (!last || document.activeElement !== document.body) return;
      const same = element.querySelector(last) ?? element.querySelector("button:not(:disabled), select");
      same?.focus({ preventScroll: true });
    }).observe(element, { childList: true, subtree: true });
  },

  listen(element, trigger) {
    window.steer.tips(element);
    window.steer.keep(element);
    const send = (act, data) => {
      window.steer.draw(["", null, ""]);
      const turn = Number(document.querySelector("#edits .edits")?.dataset.turn);
      trigger("click", { act, turn, form: window.steer.form(), ...data });
    };
    element.addEventListener("click", (event) => {
      const chip = event.target.closest("[data-show].chip");
      if (chip) return window.steer.show(chip);
      const mark = event.target.closest("[data-dose]");
      if (mark) {
        const amount = mark.closest(".edit").querySelector('[data-field="amount"]');
        amount.value = mark.dataset.dose;
        window.steer.follow(amount);
        return send("change", {});
      }
      const why = event.target.closest(".why");
      if (why) return window.steer.tell(why);
      const button = event.target.closest("[data-act]");
      if (!button || button.disabled) return;
      if (button.dataset.act === "copy") return window.steer.copy(button);
      if (button.dataset.act === "theme") return window.steer.theme();
      const row = button.closest(".edit");
      const card = button.closest(".card");
      send(button.dataset.act, {
        feature: button.dataset.feature ? Number(button.dataset.feature) : null,
        number: row ? Number(row.dataset.number) : null,
        position: button.dataset.position ? Number(button.dataset.position) : null,
        example: button.dataset.example ? Number(button.dataset.example) : null,
        dictionary: card ? card.dataset.dictionary : null,
      });
    });
    element.addEventListener("input", (event) => window.steer.follow(event.target));
    element.addEventListener("change", async (event) => {
      const target = event.target;
      if (target.matches("[data-load]")) return send("load", { text: await target.files[0].text() });
      if (target.matches("[data-choose]")) return send("dictionary", { dictionary: target.value });
      if (target.dataset.field === "unit") {
        const amount = target.closest(".edit").querySelector('[data-field="amount"]');
        amount.value = target.selectedOptions[0].dataset.amount;
      }
      if (target.dataset.field) send(["kind", "unit"].includes(target.dataset.field) ? "kind" : "change", {});
    });
  },
};

// Gradio asks for every frame for ever (the clock of its loader is never stopped, in 6.31), and a
// frame takes time from the processors that the model computes with: while it does, few are given.
const soon = window.requestAnimationFrame.bind(window);
const cancel = window.cancelAnimationFrame.bind(window);
window.requestAnimationFrame = (draw) =>
  window.steer.running ? -setTimeout(() => soon(draw), 250) : soon(draw);
window.cancelAnimationFrame = (number) => (number < 0 ? clearTimeout(-number) : cancel(number));

// A link that is pasted into an open page is opened.
addEventListener("hashchange", () => location.hash.startsWith("#s=") && location.reload());

// A measurement draws itself several times; only the last is told.
new MutationObserver(() => {
  const whole = document.querySelector("#measured .measured:not([data-partial], [data-told])");
  if (!whole) return;
  whole.setAttribute("data-told", "");
  window.steer.say("The measurement is over.");
}).observe(document.documentElement, { childList: true, subtree: true });

// Gradio changes a list in place, so what is pressed may name another feature when it is let go: a
// click is of the feature that was pressed, or of none.
let pressed = null;
const named = (target) => target.closest("[data-act][data-feature]");
const same = (button) => button?.dataset.act === pressed.act && button.dataset.feature === pressed.feature;
addEventListener("pointerdown", ({ target }) => {
  const button = named(target);
  pressed = button && { button, act: button.dataset.act, feature: button.dataset.feature };
}, true);
addEventListener("pointerup", ({ clientX, clientY }) => {
  if (!pressed || pressed.button.isConnected) return; // there the browser's own click comes
  const there = named(document.elementFromPoint(clientX, clientY) ?? document.body);
  if (same(there)) there.click();
}, true);
addEventListener("click", (event) => {
  if (event.detail && pressed && named(event.target) && !same(named(event.target))) event.stopPropagation();
}, true);

// Counted before Gradio hears of it, and so before a click on Cancel that follows at once.
addEventListener("click", ({ target }) => {
  if (target.closest("#run")) window.steer.begin();
  if (target.closest("#cancel")) clearTimeout(window.steer.early);
  if (target.closest("#go, #towards-go")) window.steer.asked++;
}, true);
addEventListener("keydown", ({ key, shiftKey, target }) => {
  if (key === "Enter" && shiftKey && target.closest("#prompt")) window.steer.begin();
  if (key === "Enter" && target.closest("#towards")) window.steer.asked++;
}, true);
