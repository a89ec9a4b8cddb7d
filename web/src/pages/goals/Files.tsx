// Where files for a goal are dropped or chosen, with what may be sent said before anything is.
import { type DragEvent, useRef, useState } from "react";
import { bytes, count } from "../../lib/format";
import { Refusal } from "../../parts/Failed";
import { type Bounds, type Chosen, chosenOf, inTheWay, joined, total } from "./chosen";
import { dropped } from "./files";
import styles from "./goals.module.css";

const LISTED = 8;

interface Props {
  chosen: Chosen[];
  choose: (files: Chosen[]) => void;
  bounds: Bounds;
}

export function Files({ chosen, choose, bounds }: Props) {
  const [over, setOver] = useState(false);
  if (bounds.closed) return <p className="note">Files can't be sent from here: {bounds.closed}.</p>;
  const wrong = inTheWay(chosen, bounds, bytes);
  async function drop(event: DragEvent) {
    event.preventDefault();
    setOver(false);
    choose(joined(chosen, await dropped(event.dataTransfer.items)));
  }
  return (
    <div
      className={over ? styles.over : styles.drop}
      role="group"
      aria-label="Files that it is about"
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => void drop(event)}
    >
      <div className="row">
        <Choose label="Add files" add={(files) => choose(joined(chosen, files))} />
        <Choose label="Add a folder" folder add={(files) => choose(joined(chosen, files))} />
        {chosen.length > 0 && (
          <button type="button" className="quiet" onClick={() => choose([])}>
            Remove all
          </button>
        )}
        <span className="note">
          or drop them here: {count(bounds.files_max)} at most, {bytes(bounds.file_bytes_max)} each, {bytes(bounds.bytes_max)} together, kept
          for {bounds.kept_days} days
        </span>
      </div>
      {chosen.length > 0 && (
        <>
          <p role="status" className={styles.sum}>
            {count(chosen.length)} {chosen.length === 1 ? "file" : "files"}, {bytes(total(chosen))}
          </p>
          <ul className={styles.files}>
            {chosen.slice(0, LISTED).map((one) => (
              <li key={one.path}>
                <span>{one.path}</span> <span className="note">{bytes(one.file.size)}</span>{" "}
                <button type="button" className="quiet" aria-label={`Remove ${one.path}`} onClick={() => choose(chosen.filter((other) => other !== one))}>
                  ✕
                </button>
              </li>
            ))}
          </ul>
          {chosen.length > LISTED && <p className="note">and {count(chosen.length - LISTED)} more</p>}
        </>
      )}
      <Refusal error={wrong ? new Error(wrong) : null} />
    </div>
  );
}

/** A button for an input that can't be styled. */
function Choose({ label, folder, add }: { label: string; folder?: boolean; add: (files: Chosen[]) => void }) {
  const input = useRef<HTMLInputElement>(null);
  return (
    <>
      <input
        ref={input}
        type="file"
        multiple
        hidden
        {...(folder && { webkitdirectory: "" })}
        onChange={(event) => {
          add(chosenOf(event.target.files ?? []));
          event.target.value = ""; // so that the same file can be chosen again
        }}
      />
      <button type="button" className="quiet" onClick={() => input.current?.click()}>
        {label}
      </button>
    </>
  );
}
