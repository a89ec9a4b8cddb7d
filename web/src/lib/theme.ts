// Light or dark: as the system says, until somebody chooses.
import { useSyncExternalStore } from "react";

type Theme = "light" | "dark";

const KEY = "amas-theme";
const system = window.matchMedia("(prefers-color-scheme: dark)");
const listeners = new Set<() => void>();

const chosen = () => localStorage.getItem(KEY) as Theme | null;
const current = (): Theme => chosen() ?? (system.matches ? "dark" : "light");

export function apply() {
  document.documentElement.dataset.theme = current();
  for (const tell of listeners) tell();
}

export function toggle() {
  localStorage.setItem(KEY, current() === "dark" ? "light" : "dark");
  apply();
}

system.addEventListener("change", apply);

function listen(tell: () => void) {
  listeners.add(tell);
  return () => listeners.delete(tell);
}

export const useTheme = () => useSyncExternalStore(listen, current);

/** The value of a colour of the theme in force, for what is drawn and not styled. */
export const colour = (name: string) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
