import type { CSSProperties, ReactNode } from "react";

interface Props {
  label: string;
  columns: string[];
  /** The columns, from 0, that hold figures: these stand right, so that digits are below each other, and never break. */
  figures?: number[];
  children: ReactNode;
}

/** A table; it scrolls sideways, also by keys, where the window is narrow, and on a phone each row is a card with its columns' names. */
export function Table({ label, columns, figures = [], children }: Props) {
  const names = Object.fromEntries(columns.map((name, at) => [`--column-${at + 1}`, JSON.stringify(name)]));
  return (
    <div className="wide" role="region" aria-label={label} tabIndex={0}>
      <table className={figures.map((at) => `figures-${at + 1}`).join(" ")} style={names as CSSProperties}>
        <thead>
          <tr>
            {columns.map((name) => (
              <th key={name} scope="col">
                {name}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
