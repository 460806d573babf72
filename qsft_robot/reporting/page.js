"use strict";
// The line over each Q chart follows the video beside it; its frames are one per step.
for (const episode of document.querySelectorAll("[data-steps]")) {
  const video = episode.querySelector("video");
  const chart = episode.querySelector("svg.chart");
  const cursor = episode.querySelector(".cursor");
  if (!cursor) continue;
  const last = Math.max(1, Number(episode.dataset.steps) - 1);
  const left = Number(chart.dataset.left), right = Number(chart.dataset.right);
  const follow = () => {
    const step = Math.min(video.currentTime * Number(episode.dataset.rate), last);
    const x = left + (right - left) * step / last;
    cursor.setAttribute("x1", x);
    cursor.setAttribute("x2", x);
    if (!video.paused) requestAnimationFrame(follow);
  };
  for (const event of ["play", "seeked", "timeupdate"]) video.addEventListener(event, follow);
}
// Videos run only while they are in view, and not for those who prefer less motion.
const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
const watch = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (!isIntersecting) target.pause();
    else if (!calm) target.play().catch(() => {});
  }
});
for (const video of document.querySelectorAll("video")) watch.observe(video);
