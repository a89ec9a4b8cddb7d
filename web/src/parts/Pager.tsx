// One page of a list that may be a million long. The address names it, so that a link, a reload and the way back lead to the same
// rows, and a window that was paged through for hours holds and asks for no more than one that wasn't.
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useEffect, useRef } from "react";
import { useSearchParams } from "wouter";
import { useHistoryState } from "wouter/use-browser-location";

interface Page {
  items: unknown[];
  /** Where the page after it begins; nothing on the last. */
  next?: string | number | null;
}

interface Asked<Found> {
  key: unknown[];
  look: (cursor: string) => Promise<Found>;
  everyMs: number | (() => number);
}

export interface Place {
  /** The cursor of the page that is shown; "" for the first. */
  at: string;
  next: Page["next"];
  /** Whether the rows are still those of the page before. */
  busy: boolean;
}

/** The query of the address that has a page's cursor. */
export const BEFORE = "before";

/** The page that the address names, looked at again now and then; until another page is there, the rows stay. */
export function usePage<Found extends Page>({ key, look, everyMs }: Asked<Found>) {
  const at = useSearchParams()[0].get(BEFORE) ?? "";
  const list = useQuery({
    queryKey: [...key, at],
    queryFn: () => look(at),
    placeholderData: (before, query) => (query && same(query.queryKey.slice(0, -1), key) ? keepPreviousData(before) : undefined),
    refetchInterval: everyMs,
  });
  const place: Place = { at, next: list.data?.next, busy: list.isPlaceholderData };
  return { found: list.data, error: list.error, place };
}

const same = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);

interface Props {
  /** What the list is of. */
  of: string;
  place: Place;
  /** The ways to the first page, the one before and the one after. */
  words?: readonly [string, string, string];
}

/** The ways to other pages; nothing for a list of one page. */
export function Pager({ of, place: { at, next, busy }, words = ["Newest", "Newer", "Older"] }: Props) {
  const [, setSearch] = useSearchParams();
  const came = useHistoryState<{ paged?: boolean } | null>()?.paged;
  const shown = useShown(at);
  function go(cursor: string) {
    const named = (search: URLSearchParams) => {
      search.delete(BEFORE);
      if (cursor) search.set(BEFORE, cursor);
      return search;
    };
    setSearch(named, { state: { paged: cursor !== "" } });
  }
  if (!at && !next) return null;
  const [first, before, after] = words;
  return (
    <nav ref={shown} className="row pager" aria-label={`Pages of ${of}`}>
      <Way label={first} go={at ? () => go("") : null} />
      <Way label={before} go={at && came ? () => window.history.back() : null} />
      <Way label={after} go={next && !busy ? () => go(String(next)) : null} />
    </nav>
  );
}

/** One that leads nowhere keeps the focus, which one that is disabled wouldn't: keys go on where they were. */
const Way = ({ label, go }: { label: string; go: (() => void) | null }) => (
  <button type="button" className="quiet" aria-disabled={!go} onClick={() => go?.()}>
    {label}
  </button>
);

/** Another page is read from its top. */
function useShown(at: string) {
  const element = useRef<HTMLElement>(null);
  const before = useRef(at);
  useEffect(() => {
    if (at !== before.current) element.current?.closest("section")?.scrollIntoView();
    before.current = at;
  }, [at]);
  return element;
}
