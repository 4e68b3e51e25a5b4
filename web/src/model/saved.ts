/** What this browser remembers beside the devices' stores: small values in `localStorage`. */

const PREFIX = "timewire:";

/** A value as it was saved; undefined when there is none, or it cannot be read. */
export function recall<Value>(name: string): Value | undefined {
  try {
    const text = localStorage.getItem(PREFIX + name);
    return text === null ? undefined : (JSON.parse(text) as Value);
  } catch {
    return undefined;
  }
}

/** Save a value; an undefined one is forgotten. A browser without room goes on without it. */
export function save(name: string, value: unknown): void {
  try {
    if (value === undefined) localStorage.removeItem(PREFIX + name);
    else localStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // It is a convenience: what must not be lost is in the device's store.
  }
}

/** Be told when another tab has saved or forgotten a value whose name begins so. */
export function elsewhere(beginning: string, told: (name: string) => void): () => void {
  const heard = ({ key, storageArea }: StorageEvent) => {
    if (storageArea === localStorage && key?.startsWith(PREFIX + beginning)) {
      told(key.slice(PREFIX.length));
    }
  };
  addEventListener("storage", heard);
  return () => removeEventListener("storage", heard);
}

/** Forget all values whose names begin so. */
export function forget(beginning: string): void {
  for (const key of Object.keys(localStorage)) {
    if (key.startsWith(PREFIX + beginning)) localStorage.removeItem(key);
  }
}
