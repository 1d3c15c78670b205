/**
 * Which file a name stood for when it was opened: one that was deleted or replaced meanwhile can be written
 * to until it is closed, and the system says nothing. To be used of files that are kept open, whose numbers
 * no file system gives to others.
 */
import { stat } from 'node:fs/promises'

export class OpenFile {
  readonly #path: string
  readonly #device: bigint
  readonly #inode: bigint

  private constructor(path: string, device: bigint, inode: bigint) {
    this.#path = path
    this.#device = device
    this.#inode = inode
  }

  /** @throws what `stat` throws */
  static async at(path: string): Promise<OpenFile> {
    const { dev, ino } = await stat(path, { bigint: true })
    return new OpenFile(path, dev, ino)
  }

  /** False: its name stands for no file, or for another one. @throws what else `stat` throws */
  async isInPlace(): Promise<boolean> {
    try {
      const { dev, ino } = await stat(this.#path, { bigint: true })
      return dev === this.#device && ino === this.#inode
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'ENOENT' || code === 'ENOTDIR') return false
      throw error
    }
  }
}
