/** A file in a message: a picture is shown, anything else can be saved. */

import { useEffect, useState } from "preact/hooks";
import type { Account } from "../model/account";
import type { Attached } from "../model/messages";
import { sizeOf } from "../model/text";
import { say } from "../words";
import { Icon, Modal, Name } from "./parts";

const THUMBNAIL_PX = 512;
const WHOLE_PX = 1024;
/** The largest a picture is shown among messages, in CSS pixels. */
const SHOWN_PX = 320;
/** The smallest: it is a button too. */
const MIN_SHOWN_PX = 44;

interface Props {
  readonly account: Account;
  readonly file: Attached;
  readonly shown: boolean;
}

export function File({ account, file, shown }: Props) {
  const [failed, setFailed] = useState(false);
  if (shown && !failed) {
    return <Picture account={account} file={file} onFail={() => setFailed(true)} />;
  }
  const { media, name, bytes } = file;
  return (
    <button
      type="button"
      class="file"
      onClick={() => void account.pictures.saveAs(media, name).catch(() => undefined)}
    >
      <Icon of="file" />
      <span>
        <span class="unseen">{say("message.file")} </span>
        <Name of={name || media.slice(0, 12)} />
        <small>{sizeOf(bytes)}</small>
      </span>
    </button>
  );
}

interface PictureProps {
  readonly account: Account;
  readonly file: Attached;
  readonly onFail: () => void;
}

function Picture({ account, file, onFail }: PictureProps) {
  const [open, setOpen] = useState(false);
  const { width, height, name } = file;
  const scale = width && height ? Math.min(1, SHOWN_PX / Math.max(width, height)) : 1;
  const shown = (px: number) => `${Math.max(MIN_SHOWN_PX, Math.round(px * scale))}px`;
  const label = say("message.picture", { name });
  const style = { width: shown(width || SHOWN_PX), height: shown(height || SHOWN_PX * 0.75) };
  return (
    <>
      <button type="button" class="picture" style={style} onClick={() => setOpen(true)}>
        <Fetched account={account} file={file} size={THUMBNAIL_PX} label={label} onFail={onFail} />
      </button>
      {open && (
        <Modal label={label} onClose={() => setOpen(false)}>
          <div class="whole">
            <Fetched account={account} file={file} size={WHOLE_PX} label={label} onFail={onFail} />
          </div>
          <button type="button" onClick={() => void account.pictures.saveAs(file.media, name)}>
            {say("save")}
          </button>
        </Modal>
      )}
    </>
  );
}

interface FetchedProps extends PictureProps {
  readonly size: number;
  readonly label: string;
}

function Fetched({ account, file, size, label, onFail }: FetchedProps) {
  const [address, setAddress] = useState("");
  useEffect(() => {
    let gone = false;
    account.pictures.thumbnail(file.media, size).then(
      (found) => !gone && setAddress(found),
      () => !gone && onFail(),
    );
    return () => {
      gone = true;
    };
  }, [file.media, size]);
  return address ? <img src={address} alt={label} /> : <span class="unseen">{label}</span>;
}
