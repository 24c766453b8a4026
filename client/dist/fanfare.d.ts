/** An event of the hub. */
export interface FanfareEvent<Data = string, Type = string> {
    type: Type;
    data: Data;
    id: string;
}
/** Events were lost to this subscriber; it goes on after `resumed_after`. */
export interface Gap {
    channels: string[];
    requested: string;
    resumed_after: string;
    reason: "evicted" | "epoch" | "lagged";
}
/** A channel was closed, or the subscription is not to be had. */
export interface End {
    /** Which channels, if the hub said so. */
    channels?: string[];
    /** Why; `closed` is a channel that had ended before (204), `refused` any other final status. */
    reason: "done" | "error" | "cancelled" | "deleted" | "closed" | "refused";
    /** The HTTP status, if it was one that ended it. */
    status?: number;
    /** Whether all has ended: nothing comes any more. */
    final: boolean;
}
export type State = "connecting" | "open" | "closed";
export interface Options<Events> {
    /** What is called for the events of each type; those without a type are of type `message`. */
    on?: {
        [Type in keyof Events]?: (event: FanfareEvent<Events[Type], Type>) => void;
    };
    onGap?: (gap: Gap) => void;
    onEnd?: (end: End) => void;
    onState?: (state: State) => void;
    /** Makes an event's `data` from its text, such as JSON.parse. Without it `data` is the text. */
    parse?: (data: string) => any;
    /** Where to begin: after the event of this id. */
    lastEventId?: string;
    /** Whether tabs with the same URL and types share one connection: true unless set. */
    shared?: boolean;
}
export interface Connection {
    /** The id of the last event that this tab was given. */
    readonly lastEventId: string | undefined;
    readonly state: State;
    close(): void;
}
/** Subscribes to `url`, such as `https://hub.example/channels/news`. */
export declare function connect<Events extends object = {
    message: string;
}>(url: string | URL, options?: Options<Events>): Connection;
