/** Names that are offered while one writes `@`: by keyboard, by mouse, and told to who listens. */

import type { RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import { begun, completed, offered } from "../model/mention";
import { say } from "../words";
import { Avatar, Name } from "./parts";

const LIST = "mention";

export interface Mention {
  readonly options: readonly string[];
  /** The option that Enter takes. */
  readonly at: number;
  /** The text or the caret is not where it was. */
  look(): void;
  hide(): void;
  choose(name: string): void;
  /** Whether a key was meant for the list. */
  key(event: KeyboardEvent): boolean;
}

/** Offer names for what is being written in a text area; `write` puts another text there. */
export function useMention(
  area: RefObject<HTMLTextAreaElement | null>,
  text: string,
  names: readonly string[],
  write: (text: string) => void,
): Mention {
  const [caret, setCaret] = useState(-1);
  const [at, setAt] = useState(0);
  const next = useRef(-1);
  const beginning = caret < 0 ? undefined : begun(text, caret);
  const isWhole = beginning === undefined || names.includes(beginning);
  const options = isWhole ? [] : offered(beginning, names);
  useEffect(() => {
    if (next.current >= 0) area.current?.setSelectionRange(next.current, next.current);
    next.current = -1;
  }, [text]);
  const hide = () => setCaret(-1);
  const look = () => {
    const { selectionStart = -1, selectionEnd = -1 } = area.current ?? {};
    setCaret(selectionStart === selectionEnd ? selectionStart : -1);
    setAt(0);
  };
  const choose = (name: string) => {
    const [said, behind] = completed(text, caret, name);
    next.current = behind;
    hide();
    write(said);
    area.current?.focus();
  };
  const key = (event: KeyboardEvent) => {
    if (!options.length || event.isComposing || event.shiftKey) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) setAt((at + step + options.length) % options.length);
    else if (event.key === "Enter" || event.key === "Tab") choose(options[at] ?? "");
    else if (event.key === "Escape") hide();
    else return false;
    event.preventDefault();
    return true;
  };
  return { options, at, look, hide, choose, key };
}

/** What the text area says of the list to who cannot see it. */
export function mentionProps({ options, at }: Mention) {
  if (!options.length) return { "aria-autocomplete": "list" } as const;
  return {
    "aria-autocomplete": "list",
    "aria-controls": LIST,
    "aria-activedescendant": `${LIST}-${at}`,
  } as const;
}

export function MentionList({ of }: { readonly of: Mention }) {
  const { options, at, choose } = of;
  return (
    <>
      <p class="unseen" role="status">
        {options.length > 0 && say("mention.offered", { count: options.length })}
      </p>
      {options.length > 0 && (
        <div class="mentions" id={LIST} role="listbox" aria-label={say("mention")}>
          {options.map((name, place) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the text area has the keys
            // biome-ignore lint/a11y/useFocusableInteractive: the text area keeps the focus
            <div
              key={name}
              id={`${LIST}-${place}`}
              role="option"
              aria-selected={place === at}
              onMouseDown={(event) => event.preventDefault()}
              onClick={() => choose(name)}
            >
              <Avatar name={name} />
              <Name of={name} />
            </div>
          ))}
        </div>
      )}
    </>
  );
}
