/**
 * Partitions that this peer is to own, and does not have yet: new writes come here, and count; what was
 * written before is still being taken over. What this peer says of such a partition is no answer.
 */
import type { KeyspaceId } from '../base/ids.ts'
import type { DutyLedger } from './duty-ledger.ts'

export class Arrivals {
  #ledger: Pick<DutyLedger, 'isGained'> | null = null

  has(keyspaceId: KeyspaceId, partition: number): boolean {
    return this.#ledger?.isGained(keyspaceId, partition) ?? false
  }

  /** From now on what this says; null: there are none. */
  follow(ledger: Pick<DutyLedger, 'isGained'> | null): void {
    this.#ledger = ledger
  }
}
