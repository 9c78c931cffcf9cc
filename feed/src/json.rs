//! A value on simd-json's tape, read with a reason for every refusal.
//!
//! In: the tape of one document. Out: fields by name, items in order, words and whole numbers. Never: a panic on a tape
//! of any shape, a field that stands there twice.

use crate::decode::DecodeError;
use simd_json::{Node, StaticNode};

/// One value of the parsed tape: its node and everything below it.
#[derive(Clone, Copy)]
pub(crate) struct Json<'t>(&'t [Node<'t>]);

impl<'t> Json<'t> {
    /// The document.
    pub(crate) fn whole(nodes: &'t [Node<'t>]) -> Result<Self, DecodeError> {
        Self::split(nodes).map(|(whole, _)| whole).ok_or(DecodeError::NotJson)
    }

    /// Nodes of the first value of a list, and the rest of the list.
    pub(crate) fn split(nodes: &'t [Node<'t>]) -> Option<(Self, &'t [Node<'t>])> {
        let below = match nodes.first()? {
            Node::Object { count, .. } | Node::Array { count, .. } => *count,
            Node::String(_) | Node::Static(_) => 0,
        };
        let (value, rest) = nodes.split_at_checked(1 + below)?;
        Some((Self(value), rest))
    }

    /// The values of these keys. Other keys are passed over.
    pub(crate) fn fields<const N: usize>(self, keys: [&str; N]) -> Result<[Option<Self>; N], DecodeError> {
        let mut found = [None; N];
        self.each(|key, value| {
            if let Some(at) = keys.iter().position(|wanted| *wanted == key) {
                if found[at].is_some() {
                    return Err(DecodeError::Duplicate);
                }
                found[at] = Some(value);
            }
            Ok(())
        })?;
        Ok(found)
    }

    pub(crate) fn each(
        self,
        mut visit: impl FnMut(&'t str, Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        let Some((Node::Object { .. }, mut rest)) = self.0.split_first() else {
            return Err(DecodeError::WrongType);
        };
        while let Some((Node::String(key), after)) = rest.split_first() {
            let (value, after) = Self::split(after).ok_or(DecodeError::NotJson)?;
            visit(key, value)?;
            rest = after;
        }
        Ok(())
    }

    pub(crate) fn items(self) -> Result<impl Iterator<Item = Self>, DecodeError> {
        let Some((Node::Array { .. }, mut rest)) = self.0.split_first() else {
            return Err(DecodeError::WrongType);
        };
        Ok(core::iter::from_fn(move || {
            let (value, after) = Self::split(rest)?;
            rest = after;
            Some(value)
        }))
    }

    pub(crate) fn text(self) -> Result<&'t [u8], DecodeError> {
        match self.0.first() {
            Some(Node::String(text)) => Ok(text.as_bytes()),
            _ => Err(DecodeError::WrongType),
        }
    }

    pub(crate) fn int(self) -> Result<u64, DecodeError> {
        match self.0.first() {
            Some(Node::Static(StaticNode::U64(value))) if *value <= 9_999_999_999_999_999_999 => Ok(*value),
            Some(Node::Static(StaticNode::U64(_))) => Err(DecodeError::Range),
            _ => Err(DecodeError::WrongType),
        }
    }

    pub(crate) fn boolean(self) -> Result<bool, DecodeError> {
        match self.0.first() {
            Some(Node::Static(StaticNode::Bool(value))) => Ok(*value),
            _ => Err(DecodeError::WrongType),
        }
    }
}

/// What must be there.
pub(crate) fn must<T>(value: Option<T>) -> Result<T, DecodeError> {
    value.ok_or(DecodeError::Missing)
}

/// What need not be there.
pub(crate) fn optional<'t, T>(
    value: Option<Json<'t>>,
    read: impl FnOnce(Json<'t>) -> Result<T, DecodeError>,
    or: T,
) -> Result<T, DecodeError> {
    value.map_or(Ok(or), read)
}
