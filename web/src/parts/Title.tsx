import { useEffect } from "react";

/** A page's heading, which is the window's title too, so that tabs and histories tell pages apart. */
export function Title({ children }: { children: string }) {
  useEffect(() => {
    document.title = `${children} · amas`;
  }, [children]);
  return <h1>{children}</h1>;
}
