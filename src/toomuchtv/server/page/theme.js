// A classic script in the head: the colors that were chosen apply before the first paint.
"use strict";
try {
  const theme = localStorage.getItem("theme");
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
} catch {
  // Without storage the colors follow the system.
}
