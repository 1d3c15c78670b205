/** Is this directory what its peer last wrote? What a start does when it is not. */
import { KvError } from '../base/error.ts'
import type { Address } from '../base/ids.ts'
import { askForLives, judgeLives } from '../cluster/newest-life.ts'
import type { Effects } from '../effects/effects.ts'
import type { AddressBook } from './address-book.ts'
import type { Identity } from './identity.ts'

export interface Place {
  readonly identity: Identity
  readonly book: AddressBook
  readonly join: readonly Address[]
  /** Where this peer listens. */
  readonly address: Address
}

/**
 * Asks everyone that can be reached. Afterwards the identity's generation is above what they know.
 * @returns is this directory a copy from the past? @throws INVALID_ARGUMENT: its peer runs elsewhere
 */
export async function askForNewerLives(
  effects: Pick<Effects, 'clock' | 'network' | 'log' | 'storage'>,
  { identity, book, join, address }: Place,
): Promise<boolean> {
  const { nodeId, last } = identity
  if (last === null) return false // Nobody has heard of it.
  const others = book.entries().map(([, where]) => where)
  const lives = await askForLives(effects, nodeId, address, [...join, ...others])
  const verdict = judgeLives(last, address, lives)
  if (verdict.kind === 'newest') return false
  const { generation } = verdict.life
  const directory = effects.storage.name
  if (verdict.kind === 'elsewhere') {
    throw runsElsewhere(`node ${nodeId}, whose directory ${directory} is, runs at ${verdict.life.address}`)
  }
  identity.outrank(generation)
  effects.log.warn('node.rolled_back', {
    nodeId,
    directory,
    had: last.generation,
    newest: generation,
    advice: 'the directory is a copy from the past; what was written since is fetched from the others',
  })
  return true
}

/** @param how what is known of the other one, as a sentence */
export function runsElsewhere(how: string): KvError {
  const advice = 'stop one of the two; a copied directory is no new peer, that takes an empty one and --join'
  return new KvError('INVALID_ARGUMENT', `${how}; ${advice}`)
}
