//! The numbers of agents by their identities. Asked for with every packet, so it is a table; the identities are random enough to be places in it.

use super::Scenario;
use quorate_core::AgentId;

/// The numbers of a run's agents.
#[derive(Debug, Clone)]
pub struct Numbers {
    /// Twice as many places as agents at least. An agent stands in its own place or, that being taken, in the next free one.
    places: Vec<Option<(AgentId, u32)>>,
}

impl Numbers {
    /// Numbers the agents from zero.
    pub fn new(agents: impl ExactSizeIterator<Item = AgentId>) -> Self {
        let mut numbers = Self { places: vec![None; (2 * agents.len()).next_power_of_two()] };
        for (agent, number) in agents.zip(0..) {
            let mut place = numbers.place(agent);
            while numbers.places[place].is_some_and(|(other, _)| other != agent) {
                place = (place + 1) % numbers.places.len();
            }
            numbers.places[place] = Some((agent, number));
        }
        numbers
    }

    #[allow(clippy::cast_possible_truncation, reason = "the lower bits are the place")]
    fn place(&self, agent: AgentId) -> usize {
        agent.0 as usize & (self.places.len() - 1)
    }

    /// The number of an agent, if it has one.
    pub fn get(&self, agent: AgentId) -> Option<usize> {
        let first = self.place(agent);
        let (after, before) = (&self.places[first..], &self.places[..first]);
        let found = after.iter().chain(before).map_while(|place| *place).find(|(other, _)| *other == agent);
        found.map(|(_, number)| number as usize)
    }
}

impl Scenario {
    /// A text with the names of agents in place of their ids.
    pub fn in_names(&self, text: &str) -> String {
        let mut named = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(start) = rest.find(|c: char| c.is_ascii_hexdigit()) {
            let digits = &rest[start..];
            let length = digits.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(digits.len());
            let (word, after) = digits.split_at(length);
            let agent = word.parse().ok().and_then(|id| self.agent(id));
            named.push_str(&rest[..start]);
            named.push_str(agent.map_or(word, |agent| self.agent_name(agent)));
            rest = after;
        }
        named + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_have_their_numbers_and_strangers_none() {
        let agents = [5, 13, 21, 7, u64::MAX, 15, 23].map(AgentId);
        let numbers = Numbers::new(agents.into_iter());
        for (number, agent) in agents.into_iter().enumerate() {
            assert_eq!(numbers.get(agent), Some(number));
        }
        assert_eq!(numbers.get(AgentId(29)), None);
        assert_eq!(Numbers::new([].into_iter()).get(AgentId(0)), None);
    }

    #[test]
    fn ids_in_a_text_give_way_to_names() {
        let scenario = Scenario::new("t", &crate::plan::Plan::parse("summary = \"t\"").unwrap(), 1).unwrap();
        let (first, second) = (scenario.agents[0].id, scenario.agents[1].id);
        let text =
            format!("quorate-agent@{first} is down by {second}, not by {first}0, {:x} or the 0123456789abcdef", 77);
        let named = format!("quorate-agent@a0 is down by a1, not by {first}0, 4d or the 0123456789abcdef");
        assert_eq!(scenario.in_names(&text), named);
    }
}
