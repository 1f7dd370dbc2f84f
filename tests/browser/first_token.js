() => new Promise((resolve) => {
  const texts = document.querySelector("#texts");
  const begun = performance.now();
  const watch = new MutationObserver(() => {
    const count = texts.querySelector(".live .count");
    if (!count || !/^[1-9]/.test(count.textContent)) return;
    watch.disconnect();
    resolve(performance.now() - begun);
  });
  watch.observe(texts, { childList: true, subtree: true, characterData: true });
  document.querySelector("#run").click();
})
