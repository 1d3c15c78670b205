/** Cuts with `kvctl fault`: works everywhere. */
import { type PeerProcess, run } from '../processes/peers.ts'
import { type PartitionNetwork, startPeers } from './partition-network.ts'

export class FaultNetwork implements PartitionNetwork {
  readonly name = 'kvctl fault'
  #peers: readonly PeerProcess[] = []

  get peers(): readonly PeerProcess[] {
    return this.#peers
  }

  async start(count: number): Promise<void> {
    this.#peers = await startPeers(count, () => ({ args: ['--enable-faults'], wrapper: [] }))
  }

  async partition(groups: readonly (readonly number[])[]): Promise<void> {
    const names = groups.map((group) => group.map((index) => this.#nameOf(index)).join(','))
    await this.#fault('partition', names.join('|'))
  }

  async cutOneWay(from: number, to: number): Promise<void> {
    await this.#fault('one-way', this.#nameOf(from), this.#nameOf(to))
  }

  async heal(): Promise<void> {
    await this.#fault('heal')
  }

  #nameOf(index: number): string {
    return this.#peers[index]?.address ?? 'nobody'
  }

  async #fault(...words: readonly string[]): Promise<void> {
    const env = { KVCTL_PEER: this.#peers.map(({ address }) => address).join(',') }
    const { code, stderr } = await run('kvctl', ['fault', ...words], { env })
    if (code !== 0) throw new Error(`kvctl fault ${words.join(' ')} ended with ${code}: ${stderr}`)
  }
}
