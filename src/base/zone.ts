/** What a zone may be called. It is shown in tables, where `-` stands for none; '' is none. */
export const ZONE = /^(?!-$)[A-Za-z0-9._-]{0,64}$/
export const ZONE_RULE = "up to 64 characters of A-Z a-z 0-9 . _ -, and not '-' alone"
