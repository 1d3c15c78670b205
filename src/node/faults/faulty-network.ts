/**
 * The network of a peer that simulates failures: the real one, with what `PeerFaults` says taken away from
 * it. Links to other peers are wrapped (`faulty-link.ts`); those of clients are not, because nothing is
 * simulated between a client and its peer but the peer's absence.
 */
import type { Address } from '../../base/ids.ts'
import type { Effects } from '../../effects/effects.ts'
import type { Link, LinkHandler, LinkPurpose, Listener, Network } from '../../effects/network.ts'
import { FaultyLink, type FaultyLinkOwner } from './faulty-link.ts'
import type { PeerFaults } from './peer-faults.ts'

export class FaultyNetwork implements Network, FaultyLinkOwner {
  readonly faults: PeerFaults
  readonly effects: Pick<Effects, 'clock' | 'random' | 'network'>
  readonly #links = new Set<FaultyLink>()
  readonly #listeners = new Set<Listener>()

  /** @param effects with the real network */
  constructor(faults: PeerFaults, effects: Pick<Effects, 'clock' | 'random' | 'network'>) {
    this.faults = faults
    this.effects = effects
    faults.onChange(() => this.#faultsChanged())
  }

  async listen(address: Address, accept: (link: Link, purpose: LinkPurpose) => void): Promise<Listener> {
    const inner = await this.effects.network.listen(address, (link, purpose) =>
      this.#accept(link, purpose, accept),
    )
    this.#listeners.add(inner)
    inner.refuseLinks(this.faults.state === 'failed')
    return {
      address: inner.address,
      refuseLinks: (isRefusing) => inner.refuseLinks(isRefusing),
      close: () => {
        this.#listeners.delete(inner)
        return inner.close()
      },
    }
  }

  dial(address: Address, purpose: LinkPurpose, handler: LinkHandler): Link {
    const link = new FaultyLink(this, { address, purpose, handler })
    this.#links.add(link)
    link.tryToDial()
    return link
  }

  ended(link: FaultyLink): void {
    this.#links.delete(link)
  }

  #accept(link: Link, purpose: LinkPurpose, accept: (link: Link, purpose: LinkPurpose) => void): void {
    if (purpose === 'client') {
      if (this.faults.state === 'up') accept(link, purpose)
      else link.terminate()
      return
    }
    const faulty = new FaultyLink(this, null)
    this.#links.add(faulty)
    faulty.wrap(link)
    accept(faulty, purpose)
  }

  #faultsChanged(): void {
    for (const listener of this.#listeners) listener.refuseLinks(this.faults.state === 'failed')
    for (const link of [...this.#links]) link.faultsChanged()
  }
}
