/** Messages by their words, wherever they were said; a result leads to its message. */

import type { SearchHit } from "@timewire/client";
import { useRef, useState } from "preact/hooks";
import type { Account } from "../model/account";
import { go, place } from "../model/place";
import { marked } from "../model/text";
import { brief, say } from "../words";
import { summary, titleOf } from "./names";
import { IconButton, Name, reason } from "./parts";

/** A search begins when nothing was typed for so long. */
const PAUSE_MS = 250;
const PAGE_HITS = 30;

interface Props {
  readonly account: Account;
  readonly onClose: () => void;
}

export function Search({ account, onClose }: Props) {
  const [hits, setHits] = useState<readonly SearchHit[] | undefined>(undefined);
  const [next, setNext] = useState("");
  const [fault, setFault] = useState("");
  const [here, setHere] = useState(false);
  const text = useRef("");
  const turn = useRef(0);
  const timer = useRef<ReturnType<typeof setTimeout> | undefined>(undefined);
  const conversation = place.value;

  const find = async (page: string, only: boolean) => {
    turn.current += 1;
    const mine = turn.current;
    const wanted = {
      limit: PAGE_HITS,
      ...(page ? { page } : {}),
      ...(only && conversation ? { conversation } : {}),
    };
    try {
      const found = await account.client.value?.search(text.current, wanted);
      if (!found || mine !== turn.current) return;
      setHits(page ? [...(hits ?? []), ...found.hits] : found.hits);
      setNext(found.next);
      setFault("");
    } catch (failure) {
      if (mine === turn.current) setFault(say("search.failed", { reason: reason(failure) }));
    }
  };
  const typed = (said: string) => {
    text.current = said.trim();
    clearTimeout(timer.current);
    if (text.current) timer.current = setTimeout(() => void find("", here), PAUSE_MS);
    else setHits(undefined);
  };
  const show = ({ message }: SearchHit) => {
    go(message.conversation);
    account.show(message.conversation);
    void account.timeline.value?.jump(message.seq);
  };
  return (
    <search class="sidebar">
      <header>
        <IconButton icon="back" label={say("back")} onClick={onClose} />
        <input
          type="search"
          ref={(input) => input?.focus()}
          placeholder={say("search")}
          aria-label={say("search")}
          onInput={(event) => typed(event.currentTarget.value)}
          onKeyDown={(event) => event.key === "Escape" && onClose()}
        />
      </header>
      {conversation && (
        <label class="check">
          <input
            type="checkbox"
            checked={here}
            onChange={(event) => {
              setHere(event.currentTarget.checked);
              if (text.current) void find("", event.currentTarget.checked);
            }}
          />
          {say("search.here")}
        </label>
      )}
      <p role="status" class="hint">
        {fault || (hits && !hits.length ? say("search.none") : "")}
      </p>
      <ul class="hits" aria-label={say("search.results")}>
        {hits?.map((hit) => (
          <li key={hit.message.seq}>
            <button type="button" class="hit" onClick={() => show(hit)}>
              <span class="title">
                <Name
                  of={titleOf(
                    account.user,
                    hit.message.conversation,
                    account.conversations.get(hit.message.conversation),
                  )}
                />
              </span>
              <time>{brief(hit.message.time)}</time>
              <span class="snippet">
                <Name of={hit.message.from} />: <Snippet of={hit} />
              </span>
            </button>
          </li>
        ))}
      </ul>
      {next && (
        <button type="button" onClick={() => void find(next, here)}>
          {say("search.more")}
        </button>
      )}
    </search>
  );
}

function Snippet({ of: { snippet, matches, message } }: { readonly of: SearchHit }) {
  if (!snippet) return <>{summary(message)}</>;
  return (
    <>
      {marked(snippet, matches).map(({ text, hit }, at) =>
        hit ? <mark key={at}>{text}</mark> : text,
      )}
    </>
  );
}
