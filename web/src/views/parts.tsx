/** Small parts that many views use. */

import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { say } from "../words";

const HUES = 12;

/** A name as it was chosen by somebody: whatever it is written in, it stays within itself. */
export function Name({ of }: { readonly of: string }) {
  return <bdi>{of}</bdi>;
}

/** The first letter of a name, in a colour of its own. */
export function Avatar({ name, online }: { readonly name: string; readonly online?: boolean }) {
  const [letter = "?"] = Array.from(name.toUpperCase());
  return (
    <span class={`avatar hue-${hueOf(name)}`} aria-hidden="true">
      {letter}
      {online && <span class="dot" />}
    </span>
  );
}

function hueOf(name: string): number {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + (letter.codePointAt(0) ?? 0)) % 9973;
  return sum % HUES;
}

const PATHS = {
  back: "M15 5l-7 7 7 7",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  plus: "M12 5v14M5 12h14",
  send: "M4 12l16-8-6 16-3-6z",
  clip: "M8 12l6-6a3.5 3.5 0 015 5l-8 8a5 5 0 01-7-7l7-7",
  search: "M11 5a6 6 0 100 12 6 6 0 000-12zM20 20l-4.5-4.5",
  people:
    "M9 11a3.5 3.5 0 100-7 3.5 3.5 0 000 7zM3 20c0-4 3-6 6-6s6 2 6 6M16 5a3 3 0 010 6M17 14c3 0 4 3 4 6",
  calendar: "M4 6h16v14H4zM4 10h16M8 3v4M16 3v4",
  pin: "M9 4h6l-1 7 4 3v2H6v-2l4-3zM12 16v5",
  person: "M12 11a4 4 0 100-8 4 4 0 000 8zM4 21c0-4.500 3.500-7 8-7s8 2.500 8 7",
  close: "M6 6l12 12M18 6L6 18",
  down: "M12 5v14M6 13l6 6 6-6",
  menu: "M4 7h16M4 12h16M4 17h16",
  file: "M6 3h8l4 4v14H6zM14 3v4h4",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ of }: { readonly of: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 24 24" aria-hidden="true">
      <path d={PATHS[of]} />
    </svg>
  );
}

interface ButtonProps {
  readonly icon: IconName;
  readonly label: string;
  readonly onClick: (event: MouseEvent) => void;
  readonly pressed?: boolean;
  readonly class?: string;
}

/** A button that shows a sign, and says what it does. */
export function IconButton({ icon, label, onClick, pressed, class: more = "" }: ButtonProps) {
  return (
    <button
      type="button"
      class={`iconbutton ${more}`}
      aria-label={label}
      title={label}
      aria-pressed={pressed}
      onClick={onClick}
    >
      <Icon of={icon} />
    </button>
  );
}

interface ModalProps {
  readonly label: string;
  readonly onClose: () => void;
  readonly children: ComponentChildren;
  /** Without a head of its own, near this place of the page. */
  readonly at?: { readonly x: number; readonly y: number };
}

/** Something before everything else, until it is closed: by Escape and by a click beside it, too. */
export function Modal({ label, onClose, children, at }: ModalProps) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const shown = dialog.current;
    if (!shown) return;
    const before = document.activeElement as HTMLElement | null;
    shown.showModal();
    // Where one writes first, else the dialog itself: not the button that closes it.
    (shown.querySelector<HTMLElement>("[data-first]") ?? shown).focus();
    if (at) {
      const { width, height } = shown.getBoundingClientRect();
      shown.style.left = `${Math.max(8, Math.min(at.x, innerWidth - width - 8))}px`;
      shown.style.top = `${Math.max(8, Math.min(at.y, innerHeight - height - 8))}px`;
    }
    return () => {
      shown.close();
      before?.focus({ preventScroll: true });
    };
  }, []);
  return (
    // biome-ignore lint/a11y/useKeyWithClickEvents: Escape closes it by itself
    <dialog
      ref={dialog}
      class={at ? "popup" : "modal"}
      aria-label={label}
      tabIndex={-1}
      onCancel={onClose}
      onClick={(event) => event.target === dialog.current && onClose()}
    >
      {!at && (
        <header>
          <h2>{label}</h2>
          <IconButton icon="close" label={say("close")} onClick={onClose} />
        </header>
      )}
      {children}
    </dialog>
  );
}

/** Whatever was thrown, in a sentence. */
export function reason(failure: unknown): string {
  return failure instanceof Error ? failure.message : String(failure);
}
