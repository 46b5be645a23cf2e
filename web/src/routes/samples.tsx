export function SamplesPage() { return <p>later</p>; }
