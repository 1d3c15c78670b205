/** Somebody who connects like a peer or a client, and then sends what nobody should. */
import type { Bytes } from '../../src/base/bytes.ts'
import { HASH_NAME } from '../../src/base/hash.ts'
import type { Address, ClusterId } from '../../src/base/ids.ts'
import { parseAddress, parseNodeId } from '../../src/base/ids.ts'
import type { Prng } from '../../src/base/prng.ts'
import type { Timer } from '../../src/effects/clock.ts'
import type { Effects } from '../../src/effects/effects.ts'
import type { Link, LinkPurpose } from '../../src/effects/network.ts'
import { clientRequestCodec } from '../../src/wire/client-messages.ts'
import { PROTOCOL_VERSION, packFrame } from '../../src/wire/frame.ts'
import { peerCodec } from '../../src/wire/peer-messages.ts'
import { forgeFrame, inventFrame, mangleFrame } from './mangler.ts'
import type { Recording, Side } from './recording.ts'

/** A link that goes on after nonsense (an answer to no question, say) gets more of it, up to so much. */
const MAX_FRAMES_PER_LINK = 20
/** Names that the attacker goes by: few, because every one is a stranger that the peers remember. */
const NAMES = 8
/** A link that shows no sign of life is left. */
const SILENCE_MS = 300

export interface AttackCounts {
  /** Mangled frames sent. */
  frames: number
  /** Of these: made from recorded ones. */
  mutated: number
  links: number
  /** Ended by the peer. */
  closed: number
  /** Dials that nobody answered. */
  unanswered: number
  readonly byPlace: Record<LinkPurpose, { inHandshake: number; after: number }>
}

export class Attacker {
  readonly counts: AttackCounts = {
    frames: 0,
    mutated: 0,
    links: 0,
    closed: 0,
    unanswered: 0,
    byPlace: {
      control: { inHandshake: 0, after: 0 },
      data: { inHandshake: 0, after: 0 },
      client: { inHandshake: 0, after: 0 },
    },
  }
  readonly #effects: Pick<Effects, 'network' | 'clock'>
  readonly #recording: Recording
  readonly #prng: Prng
  readonly #clusterId: ClusterId
  readonly #lies: boolean

  /** @param lies sends valid messages with false content instead of mangled ones */
  constructor(
    effects: Pick<Effects, 'network' | 'clock'>,
    recording: Recording,
    prng: Prng,
    clusterId: ClusterId,
    lies = false,
  ) {
    this.#effects = effects
    this.#recording = recording
    this.#prng = prng
    this.#clusterId = clusterId
    this.#lies = lies
  }

  /** One connection, mangled frames until the peer has enough of it. Fulfils when it is closed. */
  strike(target: Address): Promise<void> {
    const purpose = (['control', 'data', 'client'] as const)[this.#prng.int(3)] as LinkPurpose
    const isAfterHandshake = this.#prng.float() < 0.6
    this.counts.links++
    return new Promise((resolve) => {
      let sent = 0
      let timer: Timer | null = null
      let isOpened = false
      let isOurs = false
      const next = (): void => {
        timer?.cancel()
        if (sent++ >= MAX_FRAMES_PER_LINK) return leave()
        link.send(this.#nonsense(purpose, isAfterHandshake))
        // Something valid after it: an answer to that says that the link is still there.
        link.send(isAfterHandshake ? this.#question(purpose, sent) : this.#hello(purpose))
        timer = this.#effects.clock.setTimer(SILENCE_MS, leave)
      }
      const leave = (): void => {
        isOurs = true
        link.terminate()
      }
      const link: Link = this.#effects.network.dial(target, purpose, {
        opened: () => {
          isOpened = true
          if (!isAfterHandshake) return next()
          link.send(this.#hello(purpose))
          timer = this.#effects.clock.setTimer(10 * SILENCE_MS, leave)
        },
        received: () => next(),
        progressed: () => undefined,
        closed: () => {
          timer?.cancel()
          if (!isOpened) this.counts.unanswered++
          else if (!isOurs) this.counts.closed++
          resolve()
        },
      })
    })
  }

  #nonsense(purpose: LinkPurpose, isAfterHandshake: boolean): Bytes {
    const { counts } = this
    counts.frames++
    counts.byPlace[purpose][isAfterHandshake ? 'after' : 'inHandshake']++
    if (!this.#lies && counts.mutated * 2 >= counts.frames) return inventFrame(this.#prng)
    counts.mutated++
    const side: Side = purpose === 'client' ? 'client' : 'peer'
    const frame = this.#recording.pick(side, this.#prng)
    const codec = side === 'client' ? clientRequestCodec : peerCodec
    if (this.#lies) return forgeFrame(this.#prng, frame, codec) ?? frame
    return mangleFrame(this.#prng, frame, this.#recording.pick(side, this.#prng), codec)
  }

  #hello(purpose: LinkPurpose): Bytes {
    if (purpose === 'client')
      return packFrame([
        clientRequestCodec.encode({ type: 'clientHello', protocolVersion: PROTOCOL_VERSION }),
      ])
    const name = `attacker-${this.#prng.int(NAMES)}`
    return packFrame([
      peerCodec.encode({
        type: 'hello',
        protocolVersion: PROTOCOL_VERSION,
        clusterId: this.#clusterId,
        partitionCount: 0,
        hashName: HASH_NAME,
        nodeId: parseNodeId(name),
        generation: 1,
        bootNonce: name,
        address: parseAddress('127.0.0.1:1'),
        zone: '',
        weight: 100,
        version: '0.0.0',
        expects: null,
        era: null,
        closedBelow: null,
      }),
    ])
  }

  #question(purpose: LinkPurpose, count: number): Bytes {
    // Above all ids that were recorded, and rising: a session drops ids that come late.
    const id = 0xf000_0000 + count
    if (purpose === 'client') return packFrame([clientRequestCodec.encode({ type: 'keyspaces', id })])
    return packFrame([peerCodec.encode({ type: 'inquire', id })])
  }
}
