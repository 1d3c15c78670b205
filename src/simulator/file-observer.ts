/** A `Storage` that tells when a small file is on disk. */
import { copyBytes } from '../base/bytes.ts'
import type { Storage } from '../effects/storage.ts'

export function observeFiles(
  storage: Storage,
  onFile: (name: string, bytes: Uint8Array | null) => void,
): Storage {
  return {
    name: storage.name,
    openDatabase: () => storage.openDatabase(),
    checkPlace: () => storage.checkPlace(),
    explain: (error) => storage.explain(error),
    reclaim: (gte, lt, goOn) => storage.reclaim(gte, lt, goOn),
    readFile: (name) => storage.readFile(name),
    close: () => storage.close(),
    async writeFile(name, bytes) {
      const written = copyBytes(bytes)
      await storage.writeFile(name, bytes)
      onFile(name, written)
    },
    async removeFile(name) {
      await storage.removeFile(name)
      onFile(name, null)
    },
  }
}
