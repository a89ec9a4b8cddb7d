// A goal's files on their way: what was dropped, and sending what was chosen. Folders keep their paths.
import { asked } from "../../api/client";
import { type Bounds, type Chosen, chosenOf, placed } from "./chosen";

/** Sent at a time: a browser opens six connections to a server, and the page needs some itself. */
const AT_A_TIME = 3;

export async function bounds(): Promise<Bounds> {
  return (await asked("/api/inputs", {})).json() as Promise<Bounds>;
}

/** Send all and return the folder that they are in; `tell` hears how many are there. */
export async function sent(chosen: Chosen[], tell: (count: number) => void): Promise<string> {
  const made = (await (await asked("/api/inputs", { method: "POST" })).json()) as { id: string; folder: string };
  const left = [...chosen];
  const { folder, before } = placed(chosen);
  let done = 0;
  async function some() {
    for (let one = left.shift(); one; one = left.shift()) {
      const path = `${before}${one.path}`.split("/").map(encodeURIComponent).join("/");
      await asked(`/api/inputs/${made.id}/${path}`, { method: "PUT", body: one.file });
      tell(++done);
    }
  }
  await Promise.all(Array.from({ length: AT_A_TIME }, some));
  return `${made.folder}/${folder}`;
}

/** What was dropped, folders with all below them. */
export async function dropped(items: DataTransferItemList): Promise<Chosen[]> {
  const given = [...items].map((item) => ({ entry: item.webkitGetAsEntry(), file: item.getAsFile() })); // before any wait: then it is emptied
  const found = given.map(({ entry, file }) => (entry ? below(entry) : file ? chosenOf([file]) : []));
  return (await Promise.all(found)).flat();
}

async function below(entry: FileSystemEntry): Promise<Chosen[]> {
  const path = entry.fullPath.replace(/^\//, "");
  if (entry.isFile) {
    const file = await new Promise<File>((take, fail) => (entry as FileSystemFileEntry).file(take, fail));
    return [{ path, file }];
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  const found: Chosen[] = [];
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((take, fail) => reader.readEntries(take, fail)); // a hundred at a time
    if (some.length === 0) return found;
    found.push(...(await Promise.all(some.map(below))).flat());
  }
}
