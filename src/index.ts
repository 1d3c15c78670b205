/// <reference types="node" preserve="true" />
/** kvnode as a library: a peer inside your program, or a client of a running cluster. */

export { type ConnectOptions, connect } from './api/connect.ts'
export { type CreatePeerOptions, createPeer, type Peer } from './api/peer.ts'
export { type ErrorCode, KvError } from './base/error.ts'
export type {
  Client,
  Found,
  GetOptions,
  PutOptions,
  RequestOptions,
  WriteOptions,
  Written,
} from './client/client.ts'
