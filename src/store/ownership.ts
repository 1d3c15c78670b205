/** Of which partitions records are taken: of all, until it is said which ones this peer owns. */
import { KvError } from '../base/error.ts'
import type { KeyspaceId } from '../base/ids.ts'

export class Ownership {
  #isOwn: (keyspaceId: KeyspaceId, partition: number) => boolean = () => true

  /**
   * From now on records are taken only of partitions that this says yes to. Who writes or repairs may learn
   * late that the ring is another one: what came to a partition after it was dropped would lie here until it
   * is gained back, when its key may long have been purged.
   */
  takeOnly(isOwn: (keyspaceId: KeyspaceId, partition: number) => boolean): void {
    this.#isOwn = isOwn
  }

  /** @throws UNAVAILABLE when this peer does not own the partition */
  check(keyspaceId: KeyspaceId, partition: number): void {
    if (this.#isOwn(keyspaceId, partition)) return
    throw new KvError(
      'UNAVAILABLE',
      'nothing was written: this peer does not own the key any more; try again',
    )
  }
}
