/**
 * Every option of a peer. To add one, add a line: its flag, its environment variable, its key in the config
 * file, its checks and its documentation follow.
 */
import { ZONE, ZONE_RULE } from '../base/zone.ts'
import type { OptionValues } from './option.ts'
import { addresses, choice, integer, optionalAddress, size, text, texts, toggle } from './option.ts'

export const PEER_OPTIONS = {
  port: integer(0, 65535, {
    default: 7001,
    placeholder: 'PORT',
    help: 'the one port for peers, clients and HTTP; 0 takes a free one and prints it',
  }),
  host: text(/^[A-Za-z0-9._:%-]{1,253}$/, 'a host name or an IP address', {
    default: '127.0.0.1',
    placeholder: 'HOST',
    help: 'address to listen on; whoever reaches it can read and write everything',
  }),
  advertise: optionalAddress({
    default: '',
    help:
      'address that others reach this peer by, when it is not the one it listens on; needed with --host ' +
      '0.0.0.0 on a machine with several',
  }),
  allowHost: texts(/^(\*|[A-Za-z0-9._-]{1,253})$/, 'host names, or * for any', {
    default: [],
    placeholder: 'NAME',
    help: 'a further name by which HTTP requests may call this peer; may be repeated',
  }),
  data: text(/^[^\0]{1,4096}$/, 'a directory', {
    default: '',
    placeholder: 'DIR',
    help: 'data directory, made when missing; without it .kvnode/PORT in the current directory',
  }),
  join: addresses({
    default: [],
    help: 'a peer of the cluster to join; may be repeated. Without it and without data: a new cluster of one',
  }),
  replace: text(/^[A-Za-z0-9._:[\]%-]{0,300}$/, 'an address or an id', {
    default: '',
    placeholder: 'PEER',
    help: 'with --join: address or id of a member that is down for good; this peer is to take its place',
  }),
  manualLayout: toggle({
    default: false,
    help:
      'a new cluster stages joins, leaves and removals until kvctl layout apply; in one that does not, the ' +
      'join of this peer is staged',
  }),
  zone: text(ZONE, ZONE_RULE, {
    default: '',
    placeholder: 'ZONE',
    help: 'rack, room or data centre: replicas of a key go to distinct zones first',
  }),
  weight: integer(1, 1000, {
    default: 100,
    help: 'share of the ring relative to the other peers',
  }),
  maxValue: size(1, 4 * 1024 * 1024, {
    default: 1024 * 1024,
    unit: 'bytes',
    help: 'largest value that is accepted, up to 4MiB; the same at every peer',
  }),
  enableFaults: toggle({
    default: false,
    help: 'let whoever reaches this peer simulate failures at it, with kvctl fault',
  }),
  maxHints: size(0, 1024 ** 4, {
    default: 256 * 1024 * 1024,
    unit: 'bytes',
    help: 'how much to keep on disk for owners that are away; past it writes in their place are refused',
  }),
  purgeAfter: integer(1, 31_536_000, {
    default: 3600,
    unit: 'seconds',
    help: 'seconds that all owners keep a deleted or expired key, at least, until it is purged',
  }),
  logLevel: choice(['debug', 'info', 'warn', 'error'], {
    default: 'info',
    help: 'least level that is logged',
  }),
} as const

export type PeerOptions = OptionValues<typeof PEER_OPTIONS>

/** What `kvnode cluster` takes besides. */
export const CLUSTER_OPTIONS = {
  peers: integer(1, 64, { default: 3, help: 'how many peers to run' }),
  port: integer(0, 65535, {
    default: 7001,
    placeholder: 'PORT',
    help: 'port of the first peer, the others follow; 0 takes free ones',
  }),
  data: text(/^[^\0]{1,4096}$/, 'a directory', {
    default: '.kvnode',
    placeholder: 'DIR',
    help: 'directory of data and logs: DIR/PORT and DIR/PORT.log',
  }),
  clean: toggle({ default: false, help: 'delete the data of these peers first' }),
  logLevel: PEER_OPTIONS.logLevel,
} as const

export type ClusterOptions = OptionValues<typeof CLUSTER_OPTIONS>
