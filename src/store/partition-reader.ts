/** What this disk holds of a partition, a page at a time. */
import type { Bytes } from '../base/bytes.ts'
import { KvError } from '../base/error.ts'
import type { Database } from '../effects/storage.ts'
import { type Digest, recordDigest } from '../protocol/hash-tree.ts'
import type { CommitOperation, GroupCommit } from './group-commit.ts'
import type { TreePlace } from './hash-trees.ts'
import type { Inventory } from './inventory.ts'
import { isBare } from './record-codec.ts'
import { type RecordPage, readPage } from './record-page.ts'
import { type Listing, listSlices, type SlicePlace } from './slice-listing.ts'

export class PartitionReader {
  readonly #inventory: Pick<Inventory, 'trees' | 'isAsKept'>
  readonly #commit: Pick<GroupCommit<CommitOperation>, 'atBoundary'>
  readonly #database: () => Database

  /** @param database throws UNAVAILABLE while it is not open */
  constructor(
    inventory: Pick<Inventory, 'trees' | 'isAsKept'>,
    commit: Pick<GroupCommit<CommitOperation>, 'atBoundary'>,
    database: () => Database,
  ) {
    this.#inventory = inventory
    this.#commit = commit
    this.#database = database
  }

  /** @param after see `listSlices`. @throws UNAVAILABLE when the database is not open or cannot be read */
  async list(place: SlicePlace, after: Bytes | null, maxEntries: number): Promise<Listing> {
    return listSlices(this.#database(), place, after, maxEntries)
  }

  /**
   * @param after see `readPage`
   * @throws as `list`, and when the disk gives back what was not written: its key may have been purged
   */
  async page(
    place: TreePlace,
    after: Bytes | null,
    maxRecords: number,
    maxBytes: number,
  ): Promise<RecordPage> {
    const whole = after === null ? await this.#whole(place, maxRecords, maxBytes) : null
    if (whole !== null) return whole
    if (!(await this.#inventory.isAsKept(place))) {
      throw new KvError('UNAVAILABLE', "this peer's disk has to be looked at first")
    }
    return readPage(this.#database(), place, after, maxRecords, maxBytes)
  }

  /** All of a partition, when one page holds it and it is what was written: it need not be read twice. */
  async #whole(place: TreePlace, maxRecords: number, maxBytes: number): Promise<RecordPage | null> {
    const size = this.#inventory.trees?.counts.at(place.keyspaceId, place.partition)
    if (size === undefined || size.records >= maxRecords || size.bytes >= maxBytes) return null
    const { root, page } = await new Promise<{ root: Digest | null; page: Promise<RecordPage> }>(
      (resolve) => {
        this.#commit.atBoundary(() => {
          const root = this.#inventory.trees?.root(place.keyspaceId, place.partition) ?? null
          resolve({ root, page: this.#read(place, maxRecords, maxBytes) })
        })
      },
    )
    const read = await page
    return read.last === null && rootOf(place, read) === root ? read : null
  }

  async #read(place: TreePlace, maxRecords: number, maxBytes: number): Promise<RecordPage> {
    return readPage(this.#database(), place, null, maxRecords, maxBytes)
  }
}

/** Of the hash tree that these records make. */
function rootOf({ keyspaceId }: TreePlace, { keys, records }: RecordPage): Digest {
  return records.reduce((root, record, i) => {
    return isBare(record) ? root : root ^ recordDigest(keyspaceId, keys[i] as Bytes, record)
  }, 0n)
}
