/** What this disk holds of a partition, a page at a time. */
import type { Bytes } from '../base/bytes.ts'
import type { Database } from '../effects/storage.ts'
import type { TreePlace } from './hash-trees.ts'
import { type RecordPage, readPage } from './record-page.ts'
import { type Listing, listSlices, type SlicePlace } from './slice-listing.ts'

export class PartitionReader {
  readonly #database: () => Database

  /** @param database throws UNAVAILABLE while it is not open */
  constructor(database: () => Database) {
    this.#database = database
  }

  /** @param after see `listSlices`. @throws UNAVAILABLE when the database is not open or cannot be read */
  async list(place: SlicePlace, after: Bytes | null, maxEntries: number): Promise<Listing> {
    return listSlices(this.#database(), place, after, maxEntries)
  }

  /** @param after see `readPage`. @throws as `list` */
  async page(
    place: TreePlace,
    after: Bytes | null,
    maxRecords: number,
    maxBytes: number,
  ): Promise<RecordPage> {
    return readPage(this.#database(), place, after, maxRecords, maxBytes)
  }
}
