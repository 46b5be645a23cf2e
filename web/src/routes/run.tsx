export function RunPage() { return <p>later</p>; }
