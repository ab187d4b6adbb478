//! Which of OpenAI's endpoints a call is for. The names are a closed set, fit for metric labels.

use http::Method;

/// An endpoint of the OpenAI API, as far as the gateway treats them differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /chat/completions`
    ChatCompletions,
    /// `POST /completions` (legacy)
    Completions,
    /// `POST /responses`
    Responses,
    /// `POST /embeddings`
    Embeddings,
    /// `POST /moderations`
    Moderations,
    /// `POST /images/generations`
    ImagesGenerations,
    /// `POST /images/edits` and `/images/variations`
    ImagesEdits,
    /// `POST /audio/speech`
    AudioSpeech,
    /// `POST /audio/transcriptions`
    AudioTranscriptions,
    /// `POST /audio/translations`
    AudioTranslations,
    /// `/models` and below
    Models,
    /// `/files`, `/uploads` and below
    Files,
    /// `/batches` and below
    Batches,
    /// `/realtime` and below
    Realtime,
    /// Anything else, reading stored chats and responses among it. Passed through.
    Other,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: [Self; 15] = [
        Self::ChatCompletions,
        Self::Completions,
        Self::Responses,
        Self::Embeddings,
        Self::Moderations,
        Self::ImagesGenerations,
        Self::ImagesEdits,
        Self::AudioSpeech,
        Self::AudioTranscriptions,
        Self::AudioTranslations,
        Self::Models,
        Self::Files,
        Self::Batches,
        Self::Realtime,
        Self::Other,
    ];

    /// The endpoint of a request. `path` has no query and may begin with `/v1` or not; a slash
    /// at its end does not matter.
    ///
    /// What makes tokens is known by POST to the exact path: `GET /responses/resp_1` reads a
    /// stored answer and is `Other`.
    pub fn of(method: &Method, path: &str) -> Self {
        let path = path
            .strip_prefix("/v1")
            .filter(|rest| rest.is_empty() || rest.starts_with('/'))
            .unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        let below = |root: &str| {
            path.strip_prefix(root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if method == Method::POST {
            match path {
                "/chat/completions" => return Self::ChatCompletions,
                "/completions" => return Self::Completions,
                "/responses" => return Self::Responses,
                "/embeddings" => return Self::Embeddings,
                "/moderations" => return Self::Moderations,
                "/images/generations" => return Self::ImagesGenerations,
                "/images/edits" | "/images/variations" => return Self::ImagesEdits,
                "/audio/speech" => return Self::AudioSpeech,
                "/audio/transcriptions" => return Self::AudioTranscriptions,
                "/audio/translations" => return Self::AudioTranslations,
                _ => {}
            }
        }
        match path {
            _ if below("/models") => Self::Models,
            _ if below("/files") || below("/uploads") => Self::Files,
            _ if below("/batches") => Self::Batches,
            _ if below("/realtime") => Self::Realtime,
            _ => Self::Other,
        }
    }

    /// The name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Responses => "responses",
            Self::Embeddings => "embeddings",
            Self::Moderations => "moderations",
            Self::ImagesGenerations => "images_generations",
            Self::ImagesEdits => "images_edits",
            Self::AudioSpeech => "audio_speech",
            Self::AudioTranscriptions => "audio_transcriptions",
            Self::AudioTranslations => "audio_translations",
            Self::Models => "models",
            Self::Files => "files",
            Self::Batches => "batches",
            Self::Realtime => "realtime",
            Self::Other => "other",
        }
    }

    /// Whether the request body is one JSON object that names a model: read whole, scanned,
    /// retried and routed. Bodies of the others stream through.
    pub const fn has_json_body(self) -> bool {
        matches!(
            self,
            Self::ChatCompletions
                | Self::Completions
                | Self::Responses
                | Self::Embeddings
                | Self::Moderations
                | Self::ImagesGenerations
                | Self::AudioSpeech
        )
    }

    /// Whether the request body is a form with a `model` field and a file.
    pub const fn has_form_body(self) -> bool {
        matches!(
            self,
            Self::ImagesEdits | Self::AudioTranscriptions | Self::AudioTranslations
        )
    }

    /// Whether a model works on the call, so that it is routed by model and costs money.
    pub const fn has_model(self) -> bool {
        self.has_json_body() || self.has_form_body()
    }

    /// Whether the same request has the same answer by nature, without temperature or seed.
    pub const fn is_deterministic(self) -> bool {
        matches!(self, Self::Embeddings | Self::Moderations)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_prefix_is_optional_and_post_makes_the_difference() {
        for path in [
            "/v1/chat/completions",
            "/chat/completions",
            "/v1/chat/completions/",
        ] {
            assert_eq!(Endpoint::of(&Method::POST, path), Endpoint::ChatCompletions);
            assert_eq!(Endpoint::of(&Method::GET, path), Endpoint::Other);
        }
        assert_eq!(
            Endpoint::of(&Method::GET, "/v1/models/gpt-4o"),
            Endpoint::Models
        );
        assert_eq!(Endpoint::of(&Method::GET, "/v1/modelsx"), Endpoint::Other);
        assert_eq!(
            Endpoint::of(&Method::POST, "/v1x/responses"),
            Endpoint::Other
        );
        assert_eq!(
            Endpoint::of(&Method::POST, "/v1/responses/resp_1/cancel"),
            Endpoint::Other
        );
        assert_eq!(
            Endpoint::of(&Method::GET, "/v1/realtime"),
            Endpoint::Realtime
        );
    }

    #[test]
    fn names_are_distinct() {
        let names: std::collections::HashSet<_> = Endpoint::ALL
            .iter()
            .map(|endpoint| endpoint.as_str())
            .collect();
        assert_eq!(names.len(), Endpoint::ALL.len());
    }
}
