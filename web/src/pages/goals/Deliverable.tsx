import { useState } from "react";
import { bytes } from "../../lib/format";
import type { Detail } from "./fold";
import styles from "./goals.module.css";

interface Published {
  folder: string;
  files: { name: string; bytes: number }[];
}

const isPublished = (result: unknown): result is Published =>
  typeof result === "object" && result !== null && "folder" in result && "files" in result && Array.isArray(result.files);

/** What the goal handed back: its files to read here, where no script of theirs runs; any other result as it is. */
export function Deliverable({ workflow: { id, result } }: { workflow: Detail }) {
  const [chosen, setChosen] = useState("");
  if (!isPublished(result)) {
    return (
      <section>
        <h2>Result</h2>
        <pre className="panel" tabIndex={0} aria-label="Result">
          {JSON.stringify(result, null, 2)}
        </pre>
      </section>
    );
  }
  const names = result.files.map((file) => file.name);
  const shown = chosen || names.find((name) => name.endsWith(".html")) || names[0] || "";
  const address = `/api/workflows/${encodeURIComponent(id)}/deliverable/${shown.split("/").map(encodeURIComponent).join("/")}`;
  return (
    <section>
      <div className="row heading">
        <h2>Deliverable</h2>
        <select aria-label="File" value={shown} onChange={(event) => setChosen(event.target.value)}>
          {result.files.map((file) => (
            <option key={file.name} value={file.name}>
              {file.name} ({bytes(file.bytes)})
            </option>
          ))}
        </select>
        <a href={address} target="_blank" rel="noreferrer">
          Open alone
        </a>
      </div>
      <p className="note">{result.folder}</p>
      <iframe key={shown} className={styles.file} src={address} title={shown} sandbox="" />
    </section>
  );
}
