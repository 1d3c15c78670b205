/** Everything that peers say to each other on one kind of link: the tables of all areas in one codec. */
import { configurationReplies, configurationRequests } from './configuration-messages.ts'
import { dataReplies, dataRequests } from './data-messages.ts'
import { type HandshakeMessage, handshakeMessages } from './handshake-messages.ts'
import { membershipMessages } from './membership-messages.ts'
import { purgeReplies, purgeRequests } from './purge-messages.ts'
import { repairReplies, repairRequests } from './repair-messages.ts'
import { createMessageCodec, type MessageOf } from './schema.ts'
import { taskReplies, taskRequests } from './task-messages.ts'
import { transferReplies, transferRequests } from './transfer-messages.ts'

const replies = {
  ...configurationReplies,
  ...dataReplies,
  ...repairReplies,
  ...taskReplies,
  ...purgeReplies,
  ...transferReplies,
} as const
const requests = {
  ...configurationRequests,
  ...dataRequests,
  ...repairRequests,
  ...taskRequests,
  ...purgeRequests,
  ...transferRequests,
} as const
const peerMessages = { ...handshakeMessages, ...membershipMessages, ...requests, ...replies } as const

export const peerCodec = createMessageCodec(peerMessages)

export type PeerMessage = MessageOf<typeof peerMessages>
/** Asked by `cluster/rpc.ts`, under an id. */
export type PeerRequest = MessageOf<typeof requests>
/** The answer to the request of the same id. */
export type PeerReply = MessageOf<typeof replies>

const REPLY_TYPES: ReadonlySet<string> = new Set(Object.keys(replies))
const REQUEST_TYPES: ReadonlySet<string> = new Set(Object.keys(requests))

const HANDSHAKE_TYPES: ReadonlySet<string> = new Set(Object.keys(handshakeMessages))

export function isHandshake(message: PeerMessage): message is HandshakeMessage {
  return HANDSHAKE_TYPES.has(message.type)
}

export function isPeerReply(message: PeerMessage): message is PeerReply {
  return REPLY_TYPES.has(message.type)
}

export function isPeerRequest(message: PeerMessage): message is PeerRequest {
  return REQUEST_TYPES.has(message.type)
}
