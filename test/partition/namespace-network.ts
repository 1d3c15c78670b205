/**
 * Cuts below the peers, in the kernel: each peer in a network namespace of its own, joined by a bridge whose
 * forwarding nftables filters. All of it inside `unshare -n -m`, so that nothing is left behind and nothing
 * leads outside. Needs root, Linux, iproute2 and nftables.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import type { PeerProcess } from '../processes/peers.ts'
import { type PartitionNetwork, startPeers } from './partition-network.ts'

const INSIDE = 'PARTITION_INSIDE'
const SWITCH = 'switch'
const OWN_ADDRESS = '198.18.0.254/24'
const RULES = [
  'table bridge faults {',
  '  set cut { type ifname . ifname; }',
  '  chain forward { type filter hook forward priority 0; iifname . oifname @cut drop; }',
  '}',
].join('\n')

/** Why this machine cannot do it, or null. */
export function missingForNamespaces(): string | null {
  if (process.platform !== 'linux') return 'network namespaces are Linux only'
  if (process.getuid?.() !== 0) return 'only root may make network namespaces'
  for (const [program, word] of [
    ['ip', '-V'],
    ['nft', '--version'],
  ] as const) {
    if (spawnSync(program, [word], { stdio: 'ignore' }).status !== 0) return `${program} is not installed`
  }
  const tried = spawnSync('unshare', ['-n', '-m', 'true'], { stdio: 'ignore' })
  return tried.status === 0 ? null : 'this system lets nobody make network namespaces'
}

/** Runs this script again where namespaces of its own are around it; true: that was done, and it is over. */
export function reenterInNamespaces(): boolean {
  if (process.env[INSIDE] !== undefined) return false
  const words = ['-n', '-m', process.execPath, ...process.execArgv, ...process.argv.slice(1)]
  const { status } = spawnSync('unshare', words, { stdio: 'inherit', env: { ...process.env, [INSIDE]: '1' } })
  process.exitCode = status ?? 1
  return true
}

export class NamespaceNetwork implements PartitionNetwork {
  readonly name = 'network namespaces'
  #peers: readonly PeerProcess[] = []

  get peers(): readonly PeerProcess[] {
    return this.#peers
  }

  async start(count: number): Promise<void> {
    this.#buildSwitch()
    for (let index = 0; index < count; index++) this.#plugIn(index)
    this.#peers = await startPeers(count, (index) => ({
      args: ['--host', `198.18.0.${index + 1}`],
      wrapper: ['ip', 'netns', 'exec', hostOf(index)],
    }))
  }

  async partition(groups: readonly (readonly number[])[]): Promise<void> {
    for (const [place, group] of groups.entries()) {
      for (const other of groups.filter((_, i) => i !== place).flat())
        for (const index of group) this.#cut(index, other)
    }
  }

  async cutOneWay(from: number, to: number): Promise<void> {
    this.#cut(from, to)
  }

  async heal(): Promise<void> {
    onSwitch('nft', 'flush', 'set', 'bridge', 'faults', 'cut')
  }

  #cut(from: number, to: number): void {
    const pair = `{ "${hostOf(from)}" . "${hostOf(to)}" }`
    onSwitch('nft', 'add', 'element', 'bridge', 'faults', 'cut', pair)
  }

  #buildSwitch(): void {
    mkdirSync('/run/netns', { recursive: true })
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run/netns'])
    ip('netns', 'add', SWITCH)
    onSwitch('ip', 'link', 'add', 'br0', 'type', 'bridge')
    onSwitch('ip', 'link', 'set', 'br0', 'up')
    execFileSync('ip', ['netns', 'exec', SWITCH, 'nft', '-f', '-'], { input: RULES })
    // Where this script runs: it is a client, and nobody cuts it off.
    ip('link', 'add', 'self', 'type', 'veth', 'peer', 'name', 'client', 'netns', SWITCH)
    ip('addr', 'add', OWN_ADDRESS, 'dev', 'self')
    ip('link', 'set', 'self', 'up')
    ip('link', 'set', 'lo', 'up')
    onSwitch('ip', 'link', 'set', 'client', 'master', 'br0', 'up')
  }

  #plugIn(index: number): void {
    const host = hostOf(index)
    ip('netns', 'add', host)
    ip('link', 'add', 'eth0', 'netns', host, 'type', 'veth', 'peer', 'name', host, 'netns', SWITCH)
    ip('-n', host, 'addr', 'add', `198.18.0.${index + 1}/24`, 'dev', 'eth0')
    ip('-n', host, 'link', 'set', 'eth0', 'up')
    ip('-n', host, 'link', 'set', 'lo', 'up')
    onSwitch('ip', 'link', 'set', host, 'master', 'br0', 'up')
  }
}

function hostOf(index: number): string {
  return `peer${index}`
}

function ip(...words: readonly string[]): void {
  execFileSync('ip', words, { stdio: ['ignore', 'ignore', 'inherit'] })
}

function onSwitch(...words: readonly string[]): void {
  ip('netns', 'exec', SWITCH, ...words)
}
