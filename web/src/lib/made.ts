// When something was made, as its id says: ids are UUIDs of version 7, which begin with milliseconds. Lists go by id, newest first,
// so an id made up for a moment is the place in a list of what was made until then.

/** A place just before all that was made after this millisecond. */
export function upTo(ms: number): string {
  const hex = Math.max(0, Math.floor(ms)).toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7fff-bfff-ffffffffffff`;
}

/** When what has this id was made; 0 for an id of another kind. */
export const madeAt = (id: string): number => (isId(id) ? Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : 0);

export const isId = (text: string): boolean => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text);
