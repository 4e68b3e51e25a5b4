/** Files that go out with the next message: shown before, uploaded when it is sent. */

import { useEffect, useState } from "preact/hooks";
import type { Account } from "../model/account";
import { randomName } from "../model/random";
import { sizeOf } from "../model/text";
import { say } from "../words";
import { Icon, IconButton, Name, reason } from "./parts";

const MAX_FILES = 10;
/** What the server shows in place; all else is a file to be saved. */
const PICTURES = ["image/png", "image/jpeg", "image/gif", "image/webp"];

interface Attachment {
  readonly id: string;
  readonly file: File;
  /** The address of a picture, to be seen before it is sent. */
  readonly shown: string;
}

export interface Attachments {
  readonly all: readonly Attachment[];
  readonly busy: boolean;
  readonly fault: string;
  add(files: readonly File[]): void;
  remove(id: string): void;
  /** Upload and send them one after the other; the text goes with the first. */
  send(text: string, options: { readonly reply?: number }): Promise<void>;
}

export function useFiles(account: Account, conversation: string): Attachments {
  const [all, setAll] = useState<readonly Attachment[]>([]);
  const [busy, setBusy] = useState(false);
  const [fault, setFault] = useState("");
  const add = (files: readonly File[]) => {
    const found = files.map((file) => {
      const shown = PICTURES.includes(file.type) ? URL.createObjectURL(file) : "";
      return { id: randomName(), file, shown };
    });
    if (found.length) setAll((now) => [...now, ...found].slice(0, MAX_FILES));
  };
  const remove = (id: string) => {
    setAll((now) => now.filter((one) => one.id !== id));
    const gone = all.find((one) => one.id === id);
    if (gone?.shown) URL.revokeObjectURL(gone.shown);
  };
  const send = async (text: string, options: { readonly reply?: number }) => {
    setBusy(true);
    setFault("");
    let caption = text;
    for (const { id, file } of all) {
      try {
        const { kind, body } = await uploaded(account, file);
        account.send(conversation, kind, caption ? { ...body, text: caption } : body, options);
        caption = "";
        remove(id);
      } catch (failure) {
        setFault(say("compose.failed", { name: file.name, reason: reason(failure) }));
      }
    }
    // What could not go with a file goes alone.
    if (caption) account.send(conversation, "text", { text: caption }, options);
    setBusy(false);
  };
  useDrop(add);
  return { all, busy, fault, add, remove, send };
}

async function uploaded(account: Account, file: File) {
  const client = account.client.value;
  if (!client) throw new Error("not connected");
  const { media, bytes, type, width, height } = await client.upload(file);
  const name = file.name || "image";
  const isPicture = PICTURES.includes(type);
  const size = isPicture && width && height ? { width, height } : {};
  return { kind: isPicture ? "image" : "file", body: { media, name, bytes, type, ...size } };
}

/** Files that are dropped anywhere on the page. */
function useDrop(add: (files: readonly File[]) => void): void {
  useEffect(() => {
    const over = (event: DragEvent) => event.preventDefault();
    const drop = (event: DragEvent) => {
      event.preventDefault();
      add([...(event.dataTransfer?.files ?? [])]);
    };
    addEventListener("dragover", over);
    addEventListener("drop", drop);
    return () => {
      removeEventListener("dragover", over);
      removeEventListener("drop", drop);
    };
  }, []);
}

export function Files({ files }: { readonly files: Attachments }) {
  const { all, busy, fault, remove } = files;
  if (!all.length && !fault) return null;
  return (
    <>
      <ul class="attachments">
        {all.map(({ id, file, shown }) => (
          <li key={id}>
            {shown ? <img src={shown} alt="" /> : <Icon of="file" />}
            <span>
              <Name of={file.name} /> <small>{sizeOf(file.size)}</small>
            </span>
            <IconButton
              icon="close"
              label={`${say("remove")} ${file.name}`}
              onClick={() => remove(id)}
            />
          </li>
        ))}
      </ul>
      <p role="status" class="fault">
        {busy ? say("compose.uploading") : fault}
      </p>
    </>
  );
}
