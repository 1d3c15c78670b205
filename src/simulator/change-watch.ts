/**
 * Tells when a change of the ring takes a step, by what peers put on their disks: when the first acceptor has
 * voted for a number that opens a phase, which nobody knows to be decided then, and when the first peer has
 * such a number, and it is decided.
 */
import type { Bytes } from '../base/bytes.ts'
import { CONFIGURATION_FILE, savedConfigurationCodec } from '../cluster/configuration-adoption.ts'
import { openCopy } from '../cluster/twin-file.ts'
import { decodeVotes, VOTES_FILE } from '../cluster/votes.ts'
import type { Configuration } from '../protocol/configuration.ts'
import { decodeConfiguration } from '../wire/configuration-codec.ts'
import { unpack } from '../wire/msgpack.ts'

/** *begin* (or *retarget*), *switch*, *finish*. */
export const CHANGE_STEPS = ['begin', 'switch', 'finish'] as const
export type ChangeStep = (typeof CHANGE_STEPS)[number]

export const CHANGE_MOMENTS = ['voted', 'decided'] as const
export type ChangeMoment = (typeof CHANGE_MOMENTS)[number]

export type StepListener = (step: ChangeStep, moment: ChangeMoment, next: Configuration) => void

const STEP_OF = { begun: 'begin', switched: 'switch', stable: 'finish' } as const

export class ChangeWatch {
  readonly #listener: StepListener
  readonly #highest: Record<ChangeMoment, number> = { voted: 0, decided: 0 }

  /** @param listener called amid a peer's work: it must not disturb it */
  constructor(listener: StepListener) {
    this.#listener = listener
  }

  /** A small file is on a host's disk. Others than votes and configurations are passed over. */
  wrote(file: string, bytes: Bytes | null): void {
    if (bytes === null) return
    if (file === VOTES_FILE) this.#voted(bytes)
    const decided = decidedIn(file, bytes)
    if (decided !== null) this.#tell('decided', decided)
  }

  #voted(bytes: Bytes): void {
    const { number, accepted } = decodeVotes(bytes)
    if (accepted === null || number <= this.#highest.voted) return
    this.#tell('voted', decodeConfiguration(accepted.value))
  }

  #tell(moment: ChangeMoment, next: Configuration): void {
    const { number, phase, phaseNumber } = next
    if (number <= this.#highest[moment]) return
    this.#highest[moment] = number
    if (phaseNumber === number && number > 1) this.#listener(STEP_OF[phase], moment, next)
  }
}

/** What a peer's file says is decided; null when it is another file, or damaged. */
export function decidedIn(file: string, bytes: Bytes): Configuration | null {
  const copy = file === CONFIGURATION_FILE ? openCopy(CONFIGURATION_FILE, bytes) : null
  if (copy === null) return null
  return decodeConfiguration(savedConfigurationCodec.decode(unpack(copy.payload)).configuration)
}
