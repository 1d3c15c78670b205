/**
 * The name under which a store mints dots, and its counter.
 *
 * Invariant: no (actor, n) ever names two values. Within a life the counter only rises; after a clean stop
 * the next life goes on where this one ended; after any other end a new actor begins, because what this one
 * minted last may be lost and would be minted again.
 */
import { toHex } from '../base/bytes.ts'
import { type ActorId, parseActorId } from '../base/ids.ts'
import type { Random } from '../effects/random.ts'
import type { Dot } from '../protocol/record.ts'

export class Actor {
  readonly id: ActorId
  #counter: number

  private constructor(id: ActorId, counter: number) {
    this.id = id
    this.#counter = counter
  }

  static create(random: Random): Actor {
    return new Actor(parseActorId(toHex(random.bytes(8))), 0)
  }

  /** @param counter the last n that the actor minted in the life before */
  static resume(id: ActorId, counter: number): Actor {
    return new Actor(id, counter)
  }

  /** Of the dot minted last; 0 before the first. */
  get counter(): number {
    return this.#counter
  }

  mint(): Dot {
    this.#counter += 1
    return { actor: this.id, n: this.#counter }
  }
}
