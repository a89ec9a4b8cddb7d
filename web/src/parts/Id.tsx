import { useState } from "react";

/** An id as text, with a button that copies it: it is what commands and the API take. */
export function Id({ of }: { of: string }) {
  const [copied, setCopied] = useState(false);
  const copy = () => void navigator.clipboard.writeText(of).then(() => setCopied(true));
  return (
    <span className="id">
      <code>{of}</code>
      {window.isSecureContext && (
        <button type="button" className="quiet small" onClick={copy} aria-label={`Copy ${of}`}>
          {copied ? "copied" : "copy"}
        </button>
      )}
    </span>
  );
}
