/**
 * What goes into the membership machine and what comes out of it. `wire/membership-messages.ts` must agree on
 * the messages.
 */
import type { Address, NodeId } from '../../base/ids.ts'
import type { PeerIdentity, PeerRecord, PeerView } from './peer.ts'

/**
 * `configuration`: the number of the newest configuration the sender has. `updates`: news that it passes on.
 */
export type MembershipMessage =
  /** Are you there, you whose generation is this? */
  | {
      readonly type: 'ping'
      readonly seq: number
      readonly generation: number
      readonly configuration: number
      readonly updates: readonly PeerRecord[]
    }
  /** `generation`: of the peer that was asked about. */
  | {
      readonly type: 'ack'
      readonly seq: number
      readonly generation: number
      readonly configuration: number
      readonly updates: readonly PeerRecord[]
    }
  /** Ping the target for me; tell me when it does not answer in `waitMs` either. */
  | {
      readonly type: 'pingReq'
      readonly seq: number
      readonly target: NodeId
      readonly generation: number
      readonly address: Address
      readonly waitMs: number
    }
  /** No answer from the target. `refused`: its host says that nobody listens there. */
  | { readonly type: 'nack'; readonly seq: number; readonly refused: boolean }
  | { readonly type: 'gossip'; readonly configuration: number; readonly updates: readonly PeerRecord[] }
  /** Do we believe the same? `digest` is over all records of the sender, itself included. */
  | { readonly type: 'compare'; readonly configuration: number; readonly digest: number }
  /** All that the sender believes; as a reply, what outranks the beliefs in the question. */
  | {
      readonly type: 'pushPull'
      readonly configuration: number
      readonly wantsReply: boolean
      readonly peers: readonly PeerRecord[]
    }

/** As `CloseCause` of `effects/network.ts`. */
export type LinkEnd = 'refused' | 'closed' | 'lost'

export type MembershipInput =
  /** Call it at `nextWakeMs`; the first one starts the machine. */
  | { readonly type: 'timer' }
  | { readonly type: 'message'; readonly from: NodeId; readonly message: MembershipMessage }
  /**
   * A link ended, or could not be made. `address`: where it was dialled to; null: the other side dialled, or
   * it is not known.
   */
  | {
      readonly type: 'linkClosed'
      readonly nodeId: NodeId
      readonly cause: LinkEnd
      readonly address: Address | null
    }
  /** A handshake showed who is there. `dialled`: the address that `dial` named, when it was our dial. */
  | { readonly type: 'met'; readonly facts: PeerIdentity; readonly dialled: Address | null }
  /** Peers that there are or were, from disk: how they are is not known. */
  | {
      readonly type: 'learn'
      readonly peers: readonly { readonly nodeId: NodeId; readonly address: Address }[]
    }
  /** Removed from the cluster: they never come back. */
  | { readonly type: 'forget'; readonly nodeIds: readonly NodeId[] }
  /** The newest configuration that this peer has, and whom it names. */
  | { readonly type: 'configuration'; readonly number: number; readonly members: readonly NodeId[] }
  /** This peer has a greater generation now, on disk: a life that others speak of is none of its own. */
  | { readonly type: 'rise'; readonly generation: number }
  /** This peer stops. */
  | { readonly type: 'leave' }

export type MembershipOutput =
  | {
      readonly type: 'send'
      readonly to: NodeId
      readonly address: Address
      readonly message: MembershipMessage
    }
  /** Find out who is at this address; `met` tells. */
  | { readonly type: 'dial'; readonly address: Address }
  /**
   * State, generation, address or meta changed. `before` is null for one not known before, `after` for one
   * that was forgotten.
   */
  | {
      readonly type: 'changed'
      readonly nodeId: NodeId
      readonly before: PeerView | null
      readonly after: PeerView | null
    }
  /** A peer has a newer configuration than we do. Repeated for as long as it holds. */
  | { readonly type: 'configurationSeen'; readonly from: NodeId; readonly number: number }
  /** Somebody says that our nodeId runs, or ran, with a higher generation, or with ours and another nonce. */
  | {
      readonly type: 'outranked'
      readonly generation: number
      readonly bootNonce: string
      readonly address: Address
    }
