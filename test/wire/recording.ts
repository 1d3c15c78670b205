/**
 * Frames that peers and clients really sent, kept by the kind of message they carry, so that rare kinds are
 * as likely to be drawn as pings.
 */
import type { Bytes } from '../../src/base/bytes.ts'
import type { Prng } from '../../src/base/prng.ts'
import type { Link, LinkHandler, LinkPurpose, Network } from '../../src/effects/network.ts'
import { packFrame, unpackFrame } from '../../src/wire/frame.ts'

/** Which codec a frame is for. */
export type Side = 'peer' | 'client'

const KEPT_PER_KIND = 50

export class Recording {
  readonly #frames: Record<Side, Map<number, Bytes[]>> = { peer: new Map(), client: new Map() }
  #isFinished = false

  /** Keeps each message of a frame as a frame of its own. */
  add(side: Side, frame: Bytes): void {
    if (this.#isFinished) return
    for (const message of unpackFrame(frame)) {
      const [tag] = message as [number]
      const kept = this.#frames[side].get(tag) ?? []
      if (kept.length < KEPT_PER_KIND) kept.push(packFrame([message as unknown[]]))
      this.#frames[side].set(tag, kept)
    }
  }

  /** What comes from now on is not kept. */
  finish(): void {
    this.#isFinished = true
  }

  pick(side: Side, prng: Prng): Bytes {
    const kinds = [...this.#frames[side].values()]
    const kind = kinds[prng.int(kinds.length)] ?? []
    const frame = kind[prng.int(kind.length)]
    if (frame === undefined) throw new Error(`nothing was recorded of the ${side} protocol`)
    return frame
  }

  /** Numbers of the message kinds. */
  kinds(side: Side): readonly number[] {
    return [...this.#frames[side].keys()].sort((a, b) => a - b)
  }
}

/** The same network; whatever is sent over its links, either way, is recorded. */
export function recordNetwork(network: Network, recording: Recording): Network {
  return {
    listen: (address, accept) =>
      network.listen(address, (link, purpose) => accept(recordLink(link, purpose, recording), purpose)),
    dial: (address, purpose, handler) =>
      recordLink(
        network.dial(address, purpose, recordHandler(handler, purpose, recording)),
        purpose,
        recording,
      ),
  }
}

function recordLink(link: Link, purpose: LinkPurpose, recording: Recording): Link {
  return {
    remote: link.remote,
    get bufferedBytes() {
      return link.bufferedBytes
    },
    setHandler: (handler) => link.setHandler(recordHandler(handler, purpose, recording)),
    send(frame) {
      recording.add(sideOf(purpose), frame)
      link.send(frame)
    },
    close: () => link.close(),
    terminate: () => link.terminate(),
  }
}

function recordHandler(handler: LinkHandler, purpose: LinkPurpose, recording: Recording): LinkHandler {
  return {
    opened: () => handler.opened(),
    received(frame) {
      recording.add(sideOf(purpose), frame)
      handler.received(frame)
    },
    progressed: () => handler.progressed(),
    closed: (cause) => handler.closed(cause),
  }
}

function sideOf(purpose: LinkPurpose): Side {
  return purpose === 'client' ? 'client' : 'peer'
}
