/** What can be set: appearance, language, presence; and the way out. */

import { useState } from "preact/hooks";
import { current, logOut } from "../model/accounts";
import { go } from "../model/place";
import { LANGUAGES, type Language, language, say, speak } from "../words";
import { IconButton, Modal, Name } from "./parts";
import { Settings } from "./Settings";
import { dress, THEMES, type Theme, theme } from "./theme";

export function Menu() {
  const [open, setOpen] = useState(false);
  const account = current.value;
  return (
    <>
      <IconButton icon="menu" label={say("menu")} onClick={() => setOpen(true)} />
      {open && account && (
        <Modal label={say("menu")} onClose={() => setOpen(false)}>
          <p>
            <strong>
              <Name of={account.user} />
            </strong>
          </p>
          <label>
            {say("theme")}
            <select
              value={theme.value}
              onChange={(event) => dress(event.currentTarget.value as Theme)}
            >
              {THEMES.map((one) => (
                <option key={one} value={one}>
                  {say(`theme.${one}`)}
                </option>
              ))}
            </select>
          </label>
          <label>
            {say("language")}
            <select
              value={language.value}
              onChange={(event) => speak(event.currentTarget.value as Language)}
            >
              {Object.entries(LANGUAGES).map(([code, name]) => (
                <option key={code} value={code}>
                  {name}
                </option>
              ))}
            </select>
          </label>
          <Settings account={account} />
          <button
            type="button"
            class="danger"
            onClick={() => {
              setOpen(false);
              go("");
              void logOut(account);
            }}
          >
            {say("account.out")}
          </button>
        </Modal>
      )}
    </>
  );
}
